// Help on a config's fields.
#include <algorithm>
#include <array>

#include "base/config.h"
#include "base/config_mistakes.h"
#include "base/config_text.h"
#include "base/error.h"
#include "base/join.h"
#include "base/suggest.h"

namespace lacuna {
namespace {

using Kind = ConfigField::Kind;
using Row = std::array<std::string, 5>;

constexpr std::size_t kWidestCell = 36;

std::size_t width(const std::string& words) {
  return static_cast<std::size_t>(
      std::count_if(words.begin(), words.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string short_type(const ConfigField& field) {
  const std::string words = type_of(field);
  const bool is_wide = !field.choices.empty() && width(words) > kWidestCell;
  return is_wide ? text("one of ", field.choices.size()) : words;
}

std::string default_of(const ConfigField& field) {
  if (field.kind == Kind::kTable) return "";
  if (field.kind == Kind::kList) return text(field.size(), field.size() == 1 ? " entry" : " entries");
  return to_text(field.write());
}

std::string table_of(const std::vector<Row>& rows) {
  std::array<std::size_t, 5> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], std::min(width(row[i]), kWidestCell));
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::size_t wide = width(row[i]);
      line += row[i] + std::string(widths[i] > wide ? widths[i] - wide : 0, ' ') + "  ";
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string details(const std::string& key, const ConfigField& field, bool may_change, const Origins* set) {
  std::string out = key + "\n";
  const auto line = [&](const std::string& name, const std::string& words) {
    if (!words.empty()) out += "  " + name + std::string(12 - name.size(), ' ') + words + "\n";
  };
  line("meaning", field.info.help);
  line("type", type_of(field));
  line("unit", field.info.unit);
  line("range", range_of(field.info));
  line("default", default_of(field));
  line("aliases", joined(field.info.aliases, ", "));
  line("on resume", may_change ? "may change" : "must stay the same");
  if (set && set->contains(key)) line("set by", set->at(key).str());
  for (const ConfigField::Choice& choice : field.choices)
    line("choice", choice.name + (choice.help.empty() ? "" : ": ") + choice.help);
  return out;
}

// The key as fields know it: '-' is '_', and an entry's number is N.
std::string canonical(std::string_view key) {
  std::string out, name;
  for (const char c : std::string(key) + ".") {
    if (c != '.') {
      name += c == '-' ? '_' : c;
      continue;
    }
    const bool is_number = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    out += (out.empty() ? "" : ".") + (is_number ? "N" : name);
    name.clear();
  }
  return out;
}

}  // namespace

std::string detail::describe(const Fields& fields, std::string_view key, const Origins* set) {
  const std::string wanted = key.empty() ? "" : canonical(key);
  std::vector<Row> rows = {{"key", "type", "unit", "default", "meaning"}};
  std::vector<std::string> known;
  std::string one;
  each_field(fields, Lists::kPrototype, "", [&](const std::string& name, const ConfigField& field, bool may_change) {
    known.push_back(name);
    const auto& aliases = field.info.aliases;
    const bool is_alias = std::find(aliases.begin(), aliases.end(), wanted) != aliases.end();
    if (name == wanted || is_alias) one = details(name, field, may_change, set);
    if (field.kind == Kind::kTable) return;
    const bool is_inside = wanted.empty() || name.starts_with(wanted + ".");
    if (is_inside) rows.push_back({name, short_type(field), field.info.unit, default_of(field), field.info.help});
  });
  if (rows.size() > 1) return (one.empty() ? "" : one + "\n") + table_of(rows);
  if (!one.empty()) return one;
  check(wanted.empty(), shown(key), ": no such key", [&] {
    const auto near = nearest(wanted, known);
    return near ? "; did you mean " + *near + "?" : std::string();
  }());
  return table_of(rows);
}

}  // namespace lacuna
