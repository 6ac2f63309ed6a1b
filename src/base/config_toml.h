#pragma once
// TOML text to ConfigValue, with bounds on what is accepted. Internal to the configuration.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/config_value.h"

namespace lacuna {

inline constexpr std::size_t kMaxRecipeBytes = std::size_t{1} << 20;
inline constexpr int kMaxConfigDepth = 32;

// Throws Error with name and line. The result is a table.
ConfigValue parse_toml(std::string_view toml, const std::string& name);

// One value as it would stand after "key = "; empty when `text` is none.
std::optional<ConfigValue> parse_toml_value(std::string_view text);

}  // namespace lacuna
