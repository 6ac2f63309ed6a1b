#pragma once
// The medium between a config's fields and what is written: TOML, the command line and JSON are read into a
// ConfigValue, fields are written into one, and only this tree is parsed, compared or printed.

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace lacuna {

struct ConfigEntry;

struct ConfigValue {
  struct Auto {  // an empty optional: "auto" in TOML, null in JSON
    bool operator==(const Auto&) const = default;
  };
  struct Other {  // something no field takes, such as a date
    std::string what;
    bool operator==(const Other&) const = default;
  };
  using List = std::vector<ConfigValue>;
  using Table = std::vector<ConfigEntry>;

  std::variant<Auto, bool, std::int64_t, std::uint64_t, double, std::string, List, Table, Other> data;
  int line = 0;          // in the file it came from; 0 when there is none
  std::string raw = {};  // command line only: the text as typed, which is what a field of text takes

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
};

struct ConfigEntry {
  std::string name;
  ConfigValue value;
};

// As TOML on one line; numbers and text come back exactly. Throws std::logic_error for a number that is not finite.
std::string to_text(const ConfigValue& value);

// Where a user set a key.
struct Origin {
  std::string source;  // file name, "command line", "checkpoint"
  int line = 0;
  std::string str() const;  // "recipe.toml:12" or "command line"
};
using Origins = std::map<std::string, Origin>;  // by full key, such as "objective.0.weight"

}  // namespace lacuna
