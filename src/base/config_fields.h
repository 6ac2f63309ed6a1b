#pragma once
// How a struct declares its fields (see base/config.h), and their type-erased form.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/config_value.h"
#include "base/duration.h"

namespace lacuna {

template <class E>
struct Named {
  E value;
  std::string_view name;
  std::string_view help = {};
};

// The entry of a value; a value without one is a broken invariant.
template <class E, std::size_t N>
const Named<E>& named(const Named<E> (&names)[N], E value) {
  for (const Named<E>& each : names) {
    if (each.value == value) return each;
  }
  throw std::logic_error("an enum value without a name");
}

template <class E, std::size_t N>
std::string name_of(const Named<E> (&names)[N], E value) {
  return std::string(named(names, value).name);
}

// May the value differ when a run is resumed? A table or list that may change lets all its fields change.
enum class OnResume { kMustMatch, kMayChange };
inline constexpr OnResume kMustMatch = OnResume::kMustMatch;
inline constexpr OnResume kMayChange = OnResume::kMayChange;

struct FieldInfo {
  std::string help = {};  // one line
  std::string unit = {};  // "pixels", "seconds"
  std::optional<double> min = {};
  std::optional<double> max = {};
  bool above_min = false;                 // min itself is refused
  bool below_max = false;                 // max itself is refused
  std::vector<std::string> aliases = {};  // other full keys; inside a list, counted from the list's entry
  OnResume on_resume = kMustMatch;
  std::optional<Duration::Unit> bare = {};  // Duration: what a bare number counts
  std::string shorthand = {};               // table: the field that `table = value` sets
};

class Fields;

// One field, table or list with its type erased. It refers into the config it was made from.
struct ConfigField {
  enum class Kind { kValue, kTable, kList };
  struct Type {
    std::string one = {};   // "number"
    std::string many = {};  // "numbers"
    bool is_list = false;
    std::size_t count = 0;  // of a list; 0: any
    bool may_be_auto = false;
  };
  struct Choice {
    std::string name;
    std::string help;
  };

  Kind kind = Kind::kValue;
  std::string name;
  FieldInfo info;

  Type type = {};                                     // kValue
  std::vector<Choice> choices = {};                   // kValue of an enum
  std::function<bool(const ConfigValue&)> read = {};  // false, and nothing changed: not such a value, or out of range
  std::function<ConfigValue()> write = {};

  std::shared_ptr<Fields> table = {};  // kTable; for kList the fields of a default entry

  std::function<std::size_t()> size = {};         // kList
  std::function<void(std::size_t)> reset = {};    // kList: makes it this many default entries
  std::function<Fields(std::size_t)> entry = {};  // kList
};

namespace detail {

ConfigValue encode(bool value);
ConfigValue encode(int value);
ConfigValue encode(std::int64_t value);
ConfigValue encode(std::uint64_t value);
ConfigValue encode(double value);
ConfigValue encode(const std::string& value);
ConfigValue encode(const std::filesystem::path& value);
ConfigValue encode(const Duration& value);

// True when `from` is such a value within the range of `info`; `to` is untouched otherwise.
bool decode(const ConfigValue& from, const FieldInfo& info, bool& to);
bool decode(const ConfigValue& from, const FieldInfo& info, int& to);
bool decode(const ConfigValue& from, const FieldInfo& info, std::int64_t& to);
bool decode(const ConfigValue& from, const FieldInfo& info, std::uint64_t& to);
bool decode(const ConfigValue& from, const FieldInfo& info, double& to);
bool decode(const ConfigValue& from, const FieldInfo& info, std::string& to);
bool decode(const ConfigValue& from, const FieldInfo& info, std::filesystem::path& to);
bool decode(const ConfigValue& from, const FieldInfo& info, Duration& to);

bool is_auto(const ConfigValue& value);
// The elements of a list; a value that is no list stands for a list of itself.
std::vector<ConfigValue> elements(const ConfigValue& value);
// The text of `value` as a choice: what it says, or what was typed. Null when it is neither.
const std::string* choice_text(const ConfigValue& value);

ConfigField::Type type_of(const bool*);
ConfigField::Type type_of(const int*);
ConfigField::Type type_of(const std::int64_t*);
ConfigField::Type type_of(const std::uint64_t*);
ConfigField::Type type_of(const double*);
ConfigField::Type type_of(const std::string*);
ConfigField::Type type_of(const std::filesystem::path*);
ConfigField::Type type_of(const Duration*);

template <class T>
ConfigField::Type type_of(const std::vector<T>*) {
  ConfigField::Type type = type_of(static_cast<const T*>(nullptr));
  type.is_list = true;
  return type;
}

template <class T, std::size_t N>
ConfigField::Type type_of(const std::array<T, N>*) {
  ConfigField::Type type = type_of(static_cast<const T*>(nullptr));
  type.is_list = true;
  type.count = N;
  return type;
}

template <class T>
ConfigField::Type type_of(const std::optional<T>*) {
  ConfigField::Type type = type_of(static_cast<const T*>(nullptr));
  type.may_be_auto = true;
  return type;
}

template <class List>
ConfigValue encode_list(const List& list) {
  ConfigValue::List values;
  for (const auto& item : list) values.push_back(encode(item));
  return {.data = std::move(values)};
}

template <class T>
ConfigValue encode(const std::vector<T>& list) {
  return encode_list(list);
}

template <class T, std::size_t N>
ConfigValue encode(const std::array<T, N>& list) {
  return encode_list(list);
}

template <class T>
ConfigValue encode(const std::optional<T>& value) {
  return value ? encode(*value) : ConfigValue{};
}

template <class T>
bool decode(const ConfigValue& from, const FieldInfo& info, std::vector<T>& to) {
  std::vector<T> list;
  for (const ConfigValue& value : elements(from)) {
    if (!decode(value, info, list.emplace_back())) return false;
  }
  to = std::move(list);
  return true;
}

template <class T, std::size_t N>
bool decode(const ConfigValue& from, const FieldInfo& info, std::array<T, N>& to) {
  std::vector<T> list;
  if (!decode(from, info, list) || list.size() != N) return false;
  std::copy(list.begin(), list.end(), to.begin());
  return true;
}

template <class T>
bool decode(const ConfigValue& from, const FieldInfo& info, std::optional<T>& to) {
  T value{};
  if (is_auto(from)) {
    to.reset();
  } else if (decode(from, info, value)) {
    to = std::move(value);
  } else {
    return false;
  }
  return true;
}

template <class E>
bool decode_choice(const ConfigValue& from, std::span<const Named<E>> names, E& to) {
  const std::string* text = choice_text(from);
  for (const Named<E>& each : names) {
    if (text && each.name == *text) {
      to = each.value;
      return true;
    }
  }
  return false;
}

template <class E>
ConfigValue encode_choice(std::span<const Named<E>> names, E value) {
  for (const Named<E>& each : names) {
    if (each.value == value) return encode(std::string(each.name));
  }
  throw std::logic_error("a config holds an enum value without a name");
}

template <class E>
std::vector<ConfigField::Choice> choices_of(std::span<const Named<E>> names) {
  std::vector<ConfigField::Choice> choices;
  for (const Named<E>& each : names) choices.push_back({std::string(each.name), std::string(each.help)});
  return choices;
}

}  // namespace detail

class Fields {
 public:
  // `name` is lower_snake_case and unique in its table (std::logic_error otherwise). `value` must outlive this object.
  template <class T>
  void add(std::string_view name, T& value, FieldInfo info = {}) {
    static_assert(!std::is_enum_v<T>, "an enum is added with its table of names");
    ConfigField field{.name = std::string(name), .info = std::move(info)};
    field.type = detail::type_of(static_cast<const T*>(nullptr));
    field.read = [&value, limits = field.info](const ConfigValue& from) { return detail::decode(from, limits, value); };
    field.write = [&value] { return detail::encode(value); };
    insert(std::move(field));
  }

  // `names` must outlive this object: a constexpr table at namespace scope.
  template <class E>
  requires std::is_enum_v<E>
  void add(std::string_view name, E& value, std::type_identity_t<std::span<const Named<E>>> names,
           FieldInfo info = {}) {
    ConfigField field{.name = std::string(name), .info = std::move(info)};
    field.choices = detail::choices_of(names);
    field.read = [&value, names](const ConfigValue& from) { return detail::decode_choice(from, names, value); };
    field.write = [&value, names] { return detail::encode_choice(names, value); };
    insert(std::move(field));
  }

  template <class E>
  requires std::is_enum_v<E>
  void add(std::string_view name, std::optional<E>& value, std::type_identity_t<std::span<const Named<E>>> names,
           FieldInfo info = {}) {
    ConfigField field{.name = std::string(name), .info = std::move(info), .type = {.may_be_auto = true}};
    field.choices = detail::choices_of(names);
    field.read = [&value, names](const ConfigValue& from) {
      E chosen{};
      const bool empty = detail::is_auto(from);
      if (!empty && !detail::decode_choice(from, names, chosen)) return false;
      value = empty ? std::nullopt : std::optional<E>(chosen);
      return true;
    };
    field.write = [&value, names] { return value ? detail::encode_choice(names, *value) : ConfigValue{}; };
    insert(std::move(field));
  }

  // A nested struct with its own fields(Fields&).
  template <class T>
  void table(std::string_view name, T& value, FieldInfo info = {}) {
    ConfigField field{.kind = ConfigField::Kind::kTable, .name = std::string(name), .info = std::move(info)};
    field.table = std::make_shared<Fields>();
    value.fields(*field.table);
    insert(std::move(field));
  }

  // A list of nested structs: [[name]] in TOML, name.0.key on the command line. A list that is given replaces the
  // default list, with entries that start from T{}.
  template <class T>
  void list(std::string_view name, std::vector<T>& value, FieldInfo info = {}) {
    ConfigField field{.kind = ConfigField::Kind::kList, .name = std::string(name), .info = std::move(info)};
    auto prototype = std::make_shared<std::pair<T, Fields>>();  // fields refer to the T beside them
    prototype->first.fields(prototype->second);
    field.table = std::shared_ptr<Fields>(prototype, &prototype->second);
    field.size = [&value] { return value.size(); };
    field.reset = [&value](std::size_t count) { value = std::vector<T>(count); };
    field.entry = [&value](std::size_t index) {
      Fields fields;
      value.at(index).fields(fields);
      return fields;
    };
    insert(std::move(field));
  }

  const std::vector<ConfigField>& all() const { return fields_; }
  const ConfigField* find(std::string_view name) const;

 private:
  void insert(ConfigField field);

  std::vector<ConfigField> fields_;
};

}  // namespace lacuna
