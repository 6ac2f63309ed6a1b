#pragma once
// Configuration: a struct lists its fields once, and parsing, help, printing, comparison and checkpoint metadata all
// come from that list.
//
//   enum class MaskKind { kRandom, kBlock };
//   inline constexpr Named<MaskKind> kMaskKinds[] = {{MaskKind::kRandom, "random"}, {MaskKind::kBlock, "block"}};
//
//   struct MaskConfig {
//     MaskKind kind = MaskKind::kBlock;
//     double ratio = 0.4;
//     void fields(Fields& f) {
//       f.add("kind", kind, kMaskKinds, {.help = "how hidden patches are chosen"});
//       f.add("ratio", ratio, {.help = "share of patches hidden", .min = 0, .max = 1, .aliases = {"mask_ratio"}});
//     }
//   };
//
//   Settings settings = Settings::from_toml("recipe.toml");
//   settings.override_with(arguments);            // mask.ratio=0.5  --mask-ratio 0.5  crop=[0.4,1]  --amp
//   RunConfig config = defaults_of(settings.peek_string("method"));
//   Origins set = apply(settings, config);        // throws one Error that lists every mistake
//   write(to_toml(config, &set));                 // complete, runs again as it is
//
// A field is a bool, int, std::int64_t, std::uint64_t, double, std::string, std::filesystem::path, Duration, an enum
// with its table of names, std::optional of those (empty reads and prints "auto"), std::vector or std::array of
// numbers, text or paths; or a table (a struct with fields of its own) or a list of tables.
// Keys are full paths (mask.ratio, objective.0.weight); '-' and '_' are alike. Numbers must be finite.
// Non-goals: rules between fields (the owner of the config checks them), and several recipes that extend each other.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config_fields.h"
#include "base/config_value.h"

namespace lacuna {

// ---- Reading ---------------------------------------------------------------------------------------------------

// What the user wrote, key by key, before it is known which config it is for. Later sources win over earlier ones.
class Settings {
 public:
  struct Assignment {
    std::vector<std::string> path;  // '-' already turned into '_'
    ConfigValue value;
    Origin origin;
    int source = 0;  // sources in the order they were given; within one, a key may be set once
  };

  // Throw Error for a file that cannot be read, is larger than 1 MiB, nests deeper than 32, or is not TOML.
  static Settings from_toml(const std::filesystem::path& path);
  static Settings from_text(std::string_view toml, const std::string& name);
  static Settings from_json(const nlohmann::json& json, const std::string& name);

  // key=value, --key=value, --key value, or --key for true. After `--key`, the next argument is its value unless it
  // starts with "--" or reads key=value itself. A value is read as TOML when it is one, else as text.
  // Throws Error that lists every argument of another form.
  void override_with(std::span<const std::string> arguments);

  // Whether this key, or one inside it, was set. Aliases are not known here.
  bool has(std::string_view key) const;
  // The text given for a key: for a look ahead, before defaults are chosen. Empty when unset or not text.
  std::optional<std::string> peek_string(std::string_view key) const;

  // What was set inside this table, as if it stood at the top; and everything else.
  Settings within(std::string_view key) const;
  Settings without(std::string_view key) const;

  const std::vector<Assignment>& assignments() const { return assignments_; }

 private:
  std::vector<Assignment> assignments_;
  int sources_ = 0;
};

namespace detail {

enum class Missing { kAllowed, kRefused };

Origins apply(const Settings& settings, const Fields& fields, Missing missing);
std::string to_toml(const Fields& fields, const Origins* set);
std::string describe(const Fields& fields, std::string_view key, const Origins* set);
nlohmann::json to_json(const Fields& fields);

template <class Config>
Fields fields_of(Config& config) {
  Fields fields;
  config.fields(fields);
  return fields;
}

template <class Config>
Origins apply_to_copy(const Settings& settings, Config& config, Missing missing) {
  Config draft = config;
  Origins set = apply(settings, fields_of(draft), missing);
  config = std::move(draft);
  return set;
}

}  // namespace detail

// Fills the fields that were set and returns where each was. Throws one Error that names, for each mistake (at most
// ten are spelled out), file:line, key, what was expected and found, and the nearest valid name. Unknown keys, values
// of another type or out of range, and keys set twice in one source are mistakes. On a throw `config` is unchanged.
template <class Config>
Origins apply(const Settings& settings, Config& config) {
  return detail::apply_to_copy(settings, config, detail::Missing::kAllowed);
}

// Reads what to_json wrote. Strict: unknown keys and missing keys are mistakes. `source` names it in errors.
template <class Config>
void from_json(const nlohmann::json& json, const std::string& source, Config& config) {
  detail::apply_to_copy(Settings::from_json(json, source), config, detail::Missing::kRefused);
}

// ---- Printing and comparing ------------------------------------------------------------------------------------

// The whole config as a recipe that gives it again, with a comment per field: help, unit, range and, given `set`,
// where the user set it.
template <class Config>
std::string to_toml(const Config& config, const Origins* set = nullptr) {
  Config copy = config;
  return detail::to_toml(detail::fields_of(copy), set);
}

// A nested object for checkpoint metadata; an empty optional is null, a duration its text.
template <class Config>
auto to_json(const Config& config) {  // nlohmann::json; include <nlohmann/json.hpp> to use it
  Config copy = config;
  return detail::to_json(detail::fields_of(copy));
}

// Help. A table of key, type, unit, default and meaning for all fields or those inside a table; everything known about
// one field when `key` names one. The defaults are the values of `config`. Throws Error for a key that does not exist.
template <class Config>
std::string describe(const Config& config, std::string_view key = {}, const Origins* set = nullptr) {
  Config copy = config;
  return detail::describe(detail::fields_of(copy), key, set);
}

struct Change {
  std::string key;
  std::string before;  // as TOML; "(none)" for a list entry that only one of them has
  std::string after;
  bool may_change = false;  // on resume
};

namespace detail {
std::vector<Change> diff(const Fields& before, const Fields& after);
}

// The fields that differ, in the order they are declared.
template <class Config>
std::vector<Change> diff(const Config& before, const Config& after) {
  Config a = before, b = after;
  return detail::diff(detail::fields_of(a), detail::fields_of(b));
}

}  // namespace lacuna
