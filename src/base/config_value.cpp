#include "base/config_value.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += {kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

// The shortest digits that read back as the same number, with a point or an exponent so that TOML sees a float.
std::string print(double number) {
  invariant(std::isfinite(number), "a config holds a number that is not finite");
  const double size = std::abs(number);
  const bool is_plain = size == 0 || (size >= 1e-4 && size < 1e15);
  std::array<char, 32> digits;
  const auto [end, fault] = std::to_chars(digits.data(), digits.data() + digits.size(), number,
                                          is_plain ? std::chars_format::fixed : std::chars_format::scientific);
  invariant(fault == std::errc{}, "a number of too many digits");
  std::string out(digits.data(), end);
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

std::string print(const ConfigValue::List& list) {
  std::string out;
  for (const ConfigValue& value : list) out += (out.empty() ? "" : ", ") + to_text(value);
  return "[" + out + "]";
}

std::string print(const ConfigValue::Table& table) {
  std::string out;
  for (const auto& [name, value] : table) out += (out.empty() ? "" : ", ") + name + " = " + to_text(value);
  return "{" + out + "}";
}

std::string print(ConfigValue::Auto) { return "\"auto\""; }
std::string print(bool value) { return value ? "true" : "false"; }
std::string print(std::int64_t value) { return std::to_string(value); }
// Beyond what a TOML integer holds, so it travels as text.
std::string print(std::uint64_t value) { return quoted(std::to_string(value)); }
std::string print(const std::string& value) { return quoted(value); }
std::string print(const ConfigValue::Other& value) { return value.what; }

}  // namespace

std::string to_text(const ConfigValue& value) {
  return std::visit([](const auto& data) { return print(data); }, value.data);
}

std::string Origin::str() const { return line > 0 ? text(source, ":", line) : source; }

}  // namespace lacuna
