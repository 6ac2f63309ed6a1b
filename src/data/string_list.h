#pragma once
// Many short strings in one allocation: a list of a million paths costs their bytes and eight more each.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace lacuna {

class StringList {
 public:
  void push_back(std::string_view item) {
    bytes_ += item;
    ends_.push_back(bytes_.size());
  }

  std::size_t size() const { return ends_.size(); }

  std::string_view operator[](std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(bytes_).substr(begin, ends_[index] - begin);
  }

  // Depends on the bytes of every item and on where the items end.
  std::uint64_t hash() const {
    const std::string_view ends(reinterpret_cast<const char*>(ends_.data()), ends_.size() * sizeof(std::uint64_t));
    const std::uint64_t parts[] = {hash_name(bytes_), hash_name(ends)};
    return hash_name({reinterpret_cast<const char*>(parts), sizeof(parts)});
  }

 private:
  std::string bytes_;
  std::vector<std::uint64_t> ends_;
};

}  // namespace lacuna
