// What the user wrote, before it meets a config.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/config.h"
#include "base/config_mistakes.h"
#include "base/config_toml.h"
#include "base/error.h"
#include "base/utf8.h"

namespace lacuna {
namespace {

using Assignments = std::vector<Settings::Assignment>;
using Path = std::vector<std::string>;

std::string normalized(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

Path split(std::string_view key) {
  Path path(1);
  for (const char c : normalized(key)) {
    if (c == '.') {
      path.emplace_back();
    } else {
      path.back() += c;
    }
  }
  return path;
}

std::string join(const Path& path) {
  std::string key;
  for (const std::string& name : path) key += (key.empty() ? "" : ".") + name;
  return key;
}

// Tables become paths; a table without entries stays, so that a mistyped [section] is still seen.
void flatten(const ConfigValue& value, const Path& path, const std::string& source, Assignments& to) {
  const auto* table = value.as<ConfigValue::Table>();
  if (!table || (table->empty() && !path.empty())) {
    to.push_back({.path = path, .value = value, .origin = {source, value.line}});
    return;
  }
  for (const ConfigEntry& entry : *table) {
    Path inner = path;
    inner.push_back(normalized(entry.name));
    flatten(entry.value, inner, source, to);
  }
}

Assignments assignments_of(const ConfigValue& root, const std::string& source) {
  Assignments list;
  flatten(root, {}, source, list);
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.origin.line < b.origin.line; });
  return list;
}

bool is_key(std::string_view key) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  if (key.empty() || key.front() == '-' || !std::all_of(key.begin(), key.end(), allowed)) return false;
  const Path path = split(key);
  const bool has_gap = std::any_of(path.begin(), path.end(), [](const std::string& name) { return name.empty(); });
  return !has_gap && path.size() <= static_cast<std::size_t>(kMaxConfigDepth);
}

bool is_assignment(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  return equals != std::string_view::npos && is_key(argument.substr(0, equals));
}

ConfigValue typed_value(const std::string& typed) {
  ConfigValue value = parse_toml_value(typed).value_or(ConfigValue{.data = typed});
  if (value.as<ConfigValue::Other>()) value.data = typed;
  value.raw = typed;
  return value;
}

ConfigValue from_json_value(const nlohmann::json& json, const std::string& name, int depth) {
  check(depth <= kMaxConfigDepth, name, ": tables and lists nest deeper than ", kMaxConfigDepth);
  if (json.is_null()) return {};
  if (json.is_boolean()) return {.data = json.get<bool>()};
  if (json.is_number_unsigned()) return detail::encode(json.get<std::uint64_t>());
  if (json.is_number_integer()) return {.data = json.get<std::int64_t>()};
  if (json.is_number_float()) return {.data = json.get<double>()};
  if (json.is_string()) return {.data = json.get<std::string>()};
  if (json.is_array()) {
    ConfigValue::List list;
    for (const auto& item : json) list.push_back(from_json_value(item, name, depth + 1));
    return {.data = std::move(list)};
  }
  check(json.is_object(), name, ": expected JSON text, numbers, lists and objects, found ", json.type_name());
  ConfigValue::Table table;
  for (const auto& [key, item] : json.items()) table.push_back({key, from_json_value(item, name, depth + 1)});
  return {.data = std::move(table)};
}

}  // namespace

Settings Settings::from_text(std::string_view toml, const std::string& name) {
  Settings settings;
  settings.assignments_ = assignments_of(parse_toml(toml, name), name);
  return settings;
}

Settings Settings::from_toml(const std::filesystem::path& path) {
  check(std::filesystem::is_regular_file(path), path.string(), ": expected a recipe (a TOML file), found ",
        std::filesystem::exists(path) ? "something that is not a file" : "nothing");
  std::ifstream file(path, std::ios::binary);
  check(file.good(), path.string(), ": the recipe cannot be opened for reading");
  std::string toml(kMaxRecipeBytes + 1, '\0');
  file.read(toml.data(), static_cast<std::streamsize>(toml.size()));
  check(!file.bad(), path.string(), ": the recipe cannot be read");
  const auto size = static_cast<std::size_t>(file.gcount());
  check(size <= kMaxRecipeBytes, path.string(), ": expected a recipe of at most ", kMaxRecipeBytes, " bytes, found ",
        std::filesystem::file_size(path));
  toml.resize(size);
  return from_text(toml, path.string());
}

Settings Settings::from_json(const nlohmann::json& json, const std::string& name) {
  check(json.is_object(), name, ": expected a config as a JSON object, found ", json.type_name());
  Settings settings;
  settings.assignments_ = assignments_of(from_json_value(json, name, 0), name);
  return settings;
}

void Settings::override_with(std::span<const std::string> arguments) {
  const Origin origin{.source = "command line"};
  Mistakes mistakes;
  Assignments list;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_dashes = arguments[i].starts_with("--");
    const std::string argument = arguments[i].substr(has_dashes ? 2 : 0);
    const std::size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    if (!is_key(key) || !is_utf8(argument) || (equals == std::string::npos && !has_dashes)) {
      mistakes.add(origin, "", [&] {
        return is_utf8(argument)
                   ? text("expected key=value, such as optim.lr=0.001, found \"", shown(arguments[i]), "\"")
                   : std::string("expected key=value in UTF-8, found other bytes");
      });
      continue;
    }
    ConfigValue value{.data = true};
    if (equals != std::string::npos) {
      value = typed_value(argument.substr(equals + 1));
    } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--") && !is_assignment(arguments[i + 1])) {
      const std::string& next = arguments[++i];
      if (!is_utf8(next)) mistakes.add(origin, key, [] { return "expected text in UTF-8, found other bytes"; });
      value = typed_value(next);
    }
    list.push_back({.path = split(key), .value = std::move(value), .origin = origin, .source = sources_ + 1});
  }
  mistakes.throw_if_any();
  ++sources_;
  assignments_.insert(assignments_.end(), std::move_iterator(list.begin()), std::move_iterator(list.end()));
}

bool Settings::has(std::string_view key) const {
  const Path wanted = split(key);
  return std::any_of(assignments_.begin(), assignments_.end(), [&](const Assignment& each) {
    return each.path.size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), each.path.begin());
  });
}

Settings Settings::within(std::string_view key) const {
  const Path table = split(key);
  Settings inside;
  inside.sources_ = sources_;
  for (const Assignment& each : assignments_) {
    if (each.path.size() <= table.size() || !std::equal(table.begin(), table.end(), each.path.begin())) continue;
    inside.assignments_.push_back(each);
    Path& path = inside.assignments_.back().path;
    path.erase(path.begin(), path.begin() + std::ssize(table));
  }
  return inside;
}

Settings Settings::without(std::string_view key) const {
  const Path table = split(key);
  Settings rest = *this;
  std::erase_if(rest.assignments_, [&](const Assignment& each) {
    return each.path.size() >= table.size() && std::equal(table.begin(), table.end(), each.path.begin());
  });
  return rest;
}

std::optional<std::string> Settings::peek_string(std::string_view key) const {
  const std::string wanted = join(split(key));
  const auto found = std::find_if(assignments_.rbegin(), assignments_.rend(),
                                  [&](const Assignment& each) { return join(each.path) == wanted; });
  if (found == assignments_.rend()) return std::nullopt;
  const std::string* said = detail::choice_text(found->value);
  return said ? std::optional(*said) : std::nullopt;
}

}  // namespace lacuna
