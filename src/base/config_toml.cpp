#include "base/config_toml.h"

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

ConfigValue convert(const toml::node& node, const std::string& name, int depth) {
  const int line = static_cast<int>(node.source().begin.line);
  check(depth <= kMaxConfigDepth, name, ":", line, ": tables and lists nest deeper than ", kMaxConfigDepth);
  ConfigValue value{.data = ConfigValue::Other{"a date or time"}, .line = line};
  if (const auto* table = node.as_table()) {
    ConfigValue::Table entries;
    for (const auto& [key, child] : *table) {
      entries.push_back({std::string(key.str()), convert(child, name, depth + 1)});
    }
    value.data = std::move(entries);
  } else if (const auto* array = node.as_array()) {
    ConfigValue::List list;
    for (const auto& child : *array) list.push_back(convert(child, name, depth + 1));
    value.data = std::move(list);
  } else if (const auto* text = node.as_string()) {
    value.data = text->get();
  } else if (const auto* boolean = node.as_boolean()) {
    value.data = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    value.data = integer->get();
  } else if (const auto* real = node.as_floating_point()) {
    value.data = real->get();
  }
  return value;
}

// The position after the string that starts at `at`, by TOML's rules for the four kinds of quotes.
std::size_t end_of_string(std::string_view toml, std::size_t at) {
  const char quote = toml[at];
  const bool multiline = toml.substr(at, 3) == std::string(3, quote);
  for (std::size_t i = at + (multiline ? 3 : 1); i < toml.size(); ++i) {
    if (quote == '"' && toml[i] == '\\') {
      ++i;
    } else if (multiline && toml.substr(i, 3) == std::string(3, quote)) {
      const std::size_t after = toml.find_first_not_of(quote, i);
      return std::min({after, i + 5, toml.size()});  // up to two quotes may stand before the closing three
    } else if (!multiline && (toml[i] == quote || toml[i] == '\n')) {
      return i + 1;
    }
  }
  return toml.size();
}

// The parser frees its tree by recursion, and dotted keys nest without any bound of its own: [a.a.a.a …] of a megabyte
// would exhaust the stack. So depth is bounded before it is parsed. Returns the position where it is exceeded.
std::optional<std::size_t> too_deep(std::string_view toml) {
  int brackets = 0, dots = 0;
  for (std::size_t i = 0; i < toml.size();) {
    const char c = toml[i];
    if (c == '"' || c == '\'') {
      i = end_of_string(toml, i);
      continue;
    }
    if (c == '#') i = std::min(toml.find('\n', i), toml.size() - 1);
    if (c == '[' || c == '{') ++brackets;
    if ((c == ']' || c == '}') && brackets > 0) --brackets;
    if (std::string_view("=,[]{}\n#").find(c) != std::string_view::npos) dots = 0;
    if (c == '.') ++dots;
    if (brackets > kMaxConfigDepth || dots > kMaxConfigDepth) return i;
    ++i;
  }
  return std::nullopt;
}

}  // namespace

ConfigValue parse_toml(std::string_view toml, const std::string& name) {
  check(toml.size() <= kMaxRecipeBytes, name, ": expected a recipe of at most ", kMaxRecipeBytes, " bytes, found ",
        toml.size());
  if (const auto at = too_deep(toml)) {
    const auto line = 1 + std::count(toml.begin(), toml.begin() + static_cast<std::ptrdiff_t>(*at), '\n');
    fail(name, ":", line, ": tables and lists nest deeper than ", kMaxConfigDepth);
  }
  try {
    return convert(toml::parse(toml, name), name, 0);
  } catch (const toml::parse_error& error) {
    fail(name, ":", error.source().begin.line, ": not valid TOML: ", error.description());
  }
}

std::optional<ConfigValue> parse_toml_value(std::string_view text) {
  if (text.size() > kMaxRecipeBytes || too_deep(text)) return std::nullopt;
  try {
    // Inside an inline table neither a comment nor a line break can end the value early.
    const toml::table parsed = toml::parse("value = { value = " + std::string(text) + " }");
    const toml::table* inner = parsed["value"].as_table();
    if (parsed.size() != 1 || !inner || inner->size() != 1) return std::nullopt;
    ConfigValue value = convert(*inner->get("value"), "command line", 0);
    return value;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

}  // namespace lacuna
