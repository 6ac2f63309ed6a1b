// Fields and the types they may have.
#include "base/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr double kWholeLimit = 9007199254740992.0;  // 2^53: every whole number up to it is a double

bool in_range(double number, const FieldInfo& info) {
  if (!std::isfinite(number)) return false;
  if (info.min && (number < *info.min || (info.above_min && number == *info.min))) return false;
  if (info.max && (number > *info.max || (info.below_max && number == *info.max))) return false;
  return true;
}

template <class T>
bool store(bool valid, T value, T& to) {
  if (valid) to = std::move(value);
  return valid;
}

std::optional<std::int64_t> whole(const ConfigValue& from) {
  if (const auto* number = from.as<std::int64_t>()) return *number;
  const auto* real = from.as<double>();
  if (real && std::abs(*real) <= kWholeLimit && *real == std::floor(*real)) return static_cast<std::int64_t>(*real);
  return std::nullopt;
}

// A number that TOML's integers cannot hold, written as text.
std::optional<std::uint64_t> large_whole(const ConfigValue& from) {
  if (const auto* number = from.as<std::uint64_t>()) return *number;
  const auto* text = from.as<std::string>();
  if (!text) return std::nullopt;
  std::uint64_t number = 0;
  const char* last = text->data() + text->size();
  const auto [end, fault] = std::from_chars(text->data(), last, number);
  const bool large = number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return fault == std::errc{} && end == last && large ? std::optional(number) : std::nullopt;
}

std::optional<double> real(const ConfigValue& from) {
  if (const auto* number = from.as<double>()) return *number;
  if (const auto* number = from.as<std::int64_t>()) return static_cast<double>(*number);
  if (const auto* number = from.as<std::uint64_t>()) return static_cast<double>(*number);
  return std::nullopt;
}

bool is_name(std::string_view name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

void Fields::insert(ConfigField field) {
  invariant(is_name(field.name), "a config field's name must be lower_snake_case: ", field.name);
  invariant(!find(field.name), "a config lists a field twice: ", field.name);
  fields_.push_back(std::move(field));
}

const ConfigField* Fields::find(std::string_view name) const {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const auto& field) { return field.name == name; });
  return found == fields_.end() ? nullptr : &*found;
}

namespace detail {

ConfigValue encode(bool value) { return {.data = value}; }
ConfigValue encode(int value) { return {.data = std::int64_t{value}}; }
ConfigValue encode(std::int64_t value) { return {.data = value}; }
ConfigValue encode(double value) { return {.data = value}; }
ConfigValue encode(const std::string& value) { return {.data = value}; }
ConfigValue encode(const std::filesystem::path& value) { return {.data = value.string()}; }
ConfigValue encode(const Duration& value) { return {.data = value.str()}; }

ConfigValue encode(std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {.data = value};
  return {.data = static_cast<std::int64_t>(value)};
}

bool decode(const ConfigValue& from, const FieldInfo&, bool& to) {
  const bool* value = from.as<bool>();
  return value && store(true, *value, to);
}

bool decode(const ConfigValue& from, const FieldInfo& info, std::int64_t& to) {
  const auto number = whole(from);
  return number && store(in_range(static_cast<double>(*number), info), *number, to);
}

bool decode(const ConfigValue& from, const FieldInfo& info, int& to) {
  const auto number = whole(from);
  if (!number || *number < std::numeric_limits<int>::min() || *number > std::numeric_limits<int>::max()) return false;
  return store(in_range(static_cast<double>(*number), info), static_cast<int>(*number), to);
}

bool decode(const ConfigValue& from, const FieldInfo& info, std::uint64_t& to) {
  if (const auto number = large_whole(from)) return store(in_range(static_cast<double>(*number), info), *number, to);
  const auto number = whole(from);
  if (!number || *number < 0) return false;
  return store(in_range(static_cast<double>(*number), info), static_cast<std::uint64_t>(*number), to);
}

bool decode(const ConfigValue& from, const FieldInfo& info, double& to) {
  const auto number = real(from);
  return number && store(in_range(*number, info), *number, to);
}

bool decode(const ConfigValue& from, const FieldInfo&, std::string& to) {
  const std::string* text = choice_text(from);
  return text && store(true, *text, to);
}

bool decode(const ConfigValue& from, const FieldInfo&, std::filesystem::path& to) {
  const std::string* text = choice_text(from);
  // The system would end the name at a NUL and open another file.
  return text && store(text->find('\0') == std::string::npos, std::filesystem::path(*text), to);
}

bool decode(const ConfigValue& from, const FieldInfo& info, Duration& to) {
  std::optional<Duration> duration;
  if (const auto* text = from.as<std::string>()) {
    duration = Duration::parse(*text, info.bare);
  } else if (const auto number = real(from); number && info.bare) {
    duration = Duration::of(*number, *info.bare);
  }
  return duration && store(in_range(duration->amount, info), *duration, to);
}

bool is_auto(const ConfigValue& value) {
  const auto* text = value.as<std::string>();
  return value.as<ConfigValue::Auto>() || (text && *text == "auto");
}

std::vector<ConfigValue> elements(const ConfigValue& value) {
  const auto* list = value.as<ConfigValue::List>();
  return list ? *list : ConfigValue::List{value};
}

const std::string* choice_text(const ConfigValue& value) {
  if (const auto* text = value.as<std::string>()) return text;
  return value.raw.empty() ? nullptr : &value.raw;
}

ConfigField::Type type_of(const bool*) { return {.one = "true or false", .many = "true or false"}; }
ConfigField::Type type_of(const int*) { return {.one = "whole number", .many = "whole numbers"}; }
ConfigField::Type type_of(const std::int64_t*) { return {.one = "whole number", .many = "whole numbers"}; }
ConfigField::Type type_of(const std::uint64_t*) {
  return {.one = "whole number, not negative", .many = "whole numbers, not negative"};
}
ConfigField::Type type_of(const double*) { return {.one = "number", .many = "numbers"}; }
ConfigField::Type type_of(const std::string*) { return {.one = "text", .many = "texts"}; }
ConfigField::Type type_of(const std::filesystem::path*) { return {.one = "path", .many = "paths"}; }
ConfigField::Type type_of(const Duration*) { return {.one = "duration", .many = "durations"}; }

}  // namespace detail
}  // namespace lacuna
