#include "methods/methods.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/suggest.h"
#include "methods/embedded.h"

namespace lacuna {
namespace {

constexpr const char* kPreset = "preset";
constexpr const char* kSize = "size";

bool is_file(std::string_view name) { return name.ends_with(".toml"); }

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const EmbeddedText& row : embedded_rows()) names.emplace_back(row.name);
  return names;
}

Settings settings_of(const std::string& name) {
  if (is_file(name)) return Settings::from_toml(name);
  for (const EmbeddedText& row : embedded_rows()) {
    if (row.name == name) return Settings::from_text(row.text, std::string(row.name) + ".toml");
  }
  const std::vector<std::string> known = row_names();
  std::string list;
  for (const std::string& each : known) list += (list.empty() ? "" : ", ") + each;
  const auto close = nearest(name, known);
  fail("method: no method named '", name, "'; the table has ", list, close ? "; did you mean " + *close + "?" : "",
       ". A method of your own is a .toml file: method=FILE.toml");
}

MethodRow row_of(const std::string& name, const Settings& settings) {
  MethodRow row;
  apply(settings.without(kPreset).without(kSize), row);
  row.name = name;
  check(!row.title.empty(), name, ": expected a title; see `lacuna methods --help`");
  return row;
}

}  // namespace

void MethodRow::fields(Fields& f) {
  f.add("title", title, {.help = "one line"});
  f.add("source", source, {.help = "paper and code"});
  f.add("confidence", confidence, kConfidences, {.help = "where the settings are from"});
  f.add("family", family, kMethodFamilies, {.help = "one of the main methods, or a relative"});
  f.add("notes", notes, {.help = "what is triangulated, left open or different"});
}

std::vector<MethodRow> methods() {
  std::vector<MethodRow> rows;
  for (const std::string& name : row_names()) rows.push_back(row_of(name, settings_of(name)));
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.family < b.family; });
  return rows;
}

MethodRow method(const std::string& name) { return row_of(name, settings_of(name)); }

Recipe recipe_of(const std::string& name, std::string_view size) {
  const Settings settings = settings_of(name);
  Recipe recipe;
  recipe.composition.student.vit = named_vit(size);
  apply(settings.within(kPreset), recipe);
  apply(settings.within(kSize).within(size), recipe);
  return recipe;
}

}  // namespace lacuna
