#pragma once
// Many short strings in one allocation: a list of a million paths costs their bytes and eight more each.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {

class StringList {
 public:
  StringList() = default;

  // From what bytes() and ends() of another list gave. Throws Error(kBadData) when they do not belong together.
  StringList(std::string bytes, std::vector<std::uint64_t> ends) : bytes_(std::move(bytes)), ends_(std::move(ends)) {
    std::uint64_t last = 0;
    for (const std::uint64_t end : ends_) {
      if (end < last) fail_data("a list of strings whose ends are not in order");
      last = end;
    }
    if (last != bytes_.size()) fail_data("a list of strings that ends elsewhere than its last string");
  }

  void push_back(std::string_view item) {
    bytes_ += item;
    ends_.push_back(bytes_.size());
  }

  std::size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  const std::string& bytes() const { return bytes_; }
  const std::vector<std::uint64_t>& ends() const { return ends_; }

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
