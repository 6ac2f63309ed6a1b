#pragma once
// Collects a user's mistakes so that one Error can name them all. Internal to the configuration.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/config_value.h"

namespace lacuna {

class Mistakes {
 public:
  // `sentence` is made for the first ten only: a hostile recipe may hold a hundred thousand.
  void add(const Origin& where, const std::string& key, const std::function<std::string()>& sentence);
  void throw_if_any() const;

 private:
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

// A user's text made fit for one line of a message: shortened, control characters escaped.
std::string shown(std::string_view text);
std::string shown(const ConfigValue& value);

}  // namespace lacuna
