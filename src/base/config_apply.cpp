// Settings into fields, with every mistake found on the way.
#include <algorithm>
#include <charconv>
#include <system_error>

#include "base/config.h"
#include "base/config_mistakes.h"
#include "base/config_text.h"
#include "base/error.h"
#include "base/join.h"
#include "base/suggest.h"

namespace lacuna {
namespace {

using Kind = ConfigField::Kind;
using Path = std::span<const std::string>;

Path view(const std::vector<std::string>& path) { return path; }

std::string join(Path path) {
  std::string key;
  for (const std::string& name : path) key += (key.empty() ? "" : ".") + name;
  return key;
}

std::vector<std::string> split(const std::string& key) {
  std::vector<std::string> path(1);
  for (const char c : key) c == '.' ? path.emplace_back() : path.back() += c;
  return path;
}

// A config, or one entry of a list: what keys and aliases are counted from.
struct Scope {
  const Fields& fields;
  std::string prefix;  // "objective.0."
};

// The fields of this scope and of its tables; lists are scopes of their own.
void each_in_scope(const Fields& fields, const std::string& prefix,
                   const std::function<void(const std::string&, const ConfigField&)>& see) {
  for (const ConfigField& field : fields.all()) {
    see(prefix + field.name, field);
    if (field.kind == Kind::kTable) each_in_scope(*field.table, prefix + field.name + ".", see);
  }
}

std::string alias_target(const Scope& scope, const std::string& alias) {
  std::string target;
  each_in_scope(scope.fields, "", [&](const std::string& key, const ConfigField& field) {
    const auto& names = field.info.aliases;
    if (std::find(names.begin(), names.end(), alias) != names.end()) target = key;
  });
  return target;
}

std::string last_name(const std::string& key) { return key.substr(key.rfind('.') + 1); }

std::vector<std::string> known_keys(const Scope& scope) {
  std::vector<std::string> keys, aliases;
  each_field(scope.fields, Lists::kPrototype, "", [&](std::string key, const ConfigField& field, bool) {
    if (const std::size_t at = key.find(".N."); at != std::string::npos) key[at + 1] = '0';
    keys.push_back(key);
    aliases.insert(aliases.end(), field.info.aliases.begin(), field.info.aliases.end());
  });
  keys.insert(keys.end(), aliases.begin(), aliases.end());
  return keys;
}

// "; did you mean optim.lr?": a key spelled alike, else one that ends in this name (lr for optim.lr).
std::string suggestion(const Scope& scope, const std::string& key) {
  std::vector<std::string> keys = known_keys(scope);
  // The table that a wrong key stands in is no answer, however near its name is.
  std::erase_if(keys, [&](const std::string& known) { return key.starts_with(known + "."); });
  std::optional<std::string> found;
  const auto same_end = [&](const std::string& known) { return last_name(known) == last_name(key); };
  if (const auto match = std::find_if(keys.begin(), keys.end(), same_end); match != keys.end()) found = *match;
  if (const auto alike = nearest(key, keys); alike && (!found || edit_distance(*alike, key) <= 2)) found = alike;
  if (!found) {
    std::vector<std::string> ends;
    for (const std::string& known : keys) ends.push_back(last_name(known));
    const auto alike = nearest(last_name(key), ends);
    if (alike) found = keys[static_cast<std::size_t>(std::find(ends.begin(), ends.end(), *alike) - ends.begin())];
  }
  return found ? "; did you mean " + scope.prefix + *found + "?" : "";
}

class Applier {
 public:
  explicit Applier(const Fields& root) : root_{root, ""} {}

  void apply(const Settings::Assignment& from) {
    source_ = from.source;
    origin_ = from.origin;
    assign(root_, view(from.path), from.value);
  }

  void refuse_missing(const std::string& source) {
    each_field(root_.fields, Lists::kEntries, "", [&](const std::string& key, const ConfigField& field, bool) {
      if (field.kind == Kind::kTable || set_.contains(key)) return;
      mistakes_.add({.source = source}, key, [&] { return "expected " + expected(field) + ", found nothing"; });
    });
  }

  Origins finish() && {
    mistakes_.throw_if_any();
    return std::move(set_);
  }

 private:
  // `path` is counted from the scope. A path that leads nowhere may be an alias; an alias's target leads somewhere.
  void assign(const Scope& scope, Path path, const ConfigValue& value, bool is_target = false) {
    const Fields* fields = &scope.fields;
    for (std::size_t i = 0; i < path.size(); ++i) {
      const ConfigField* field = fields->find(path[i]);
      const bool is_last = i + 1 == path.size();
      if (!field || (field->kind == Kind::kValue && !is_last)) break;
      const std::string key = scope.prefix + join(path.first(i + 1));
      if (is_last) return set(scope, *field, key, path, value);
      if (field->kind == Kind::kList) return assign_entry(*field, key, path.subspan(i + 1), value);
      fields = field->table.get();
    }
    const std::string key = join(path);
    if (const std::string target = alias_target(scope, key); !target.empty() && !is_target) {
      return assign(scope, split(target), value, true);
    }
    // A table under an unknown name: an alias or a typing mistake may be inside.
    if (const auto* table = value.as<ConfigValue::Table>(); table && !table->empty()) {
      return assign_table(scope, path, *table);
    }
    add(value, scope.prefix + key, [&] { return "no such key" + suggestion(scope, key); });
  }

  void assign_table(const Scope& scope, Path path, const ConfigValue::Table& table) {
    for (const ConfigEntry& entry : table) {
      std::vector<std::string> inner(path.begin(), path.end());
      inner.push_back(entry.name);
      std::replace(inner.back().begin(), inner.back().end(), '-', '_');
      assign(scope, inner, entry.value);
    }
  }

  // `rest` starts with the entry's number.
  void assign_entry(const ConfigField& list, const std::string& key, Path rest, const ConfigValue& value) {
    std::size_t index = 0;
    const char* last = rest[0].data() + rest[0].size();
    const auto [end, fault] = std::from_chars(rest[0].data(), last, index);
    const std::size_t size = list.size();
    if (fault != std::errc{} || end != last || index >= size) {
      return add(value, key, [&] {
        const std::string wanted = size == 0   ? "no entry, for the list is empty"
                                   : size == 1 ? std::string("entry 0, the only one")
                                               : text("an entry from 0 to ", size - 1);
        return text("expected ", wanted, " (a recipe gives new ones as [[", key, "]]), found ", shown(rest[0]));
      });
    }
    const Fields fields = list.entry(index);
    const Scope scope{fields, text(key, ".", index, ".")};
    if (rest.size() > 1) return assign(scope, rest.subspan(1), value);
    fill_entry(list, scope, value);
  }

  void fill_entry(const ConfigField& list, const Scope& scope, const ConfigValue& value) {
    if (const auto* table = value.as<ConfigValue::Table>()) return assign_table(scope, {}, *table);
    if (!list.info.shorthand.empty()) return assign(scope, split(list.info.shorthand), value);
    add(value, scope.prefix.substr(0, scope.prefix.size() - 1),
        [&] { return "expected a table, found " + shown(value); });
  }

  void set(const Scope& scope, const ConfigField& field, const std::string& key, Path path, const ConfigValue& value) {
    if (field.kind == Kind::kTable) return set_table(scope, field, key, path, value);
    if (!claim(key, value)) return;
    if (field.kind == Kind::kList) return set_list(field, key, value);
    if (field.read(value)) return;
    add(value, key, [&] {
      const auto* said = detail::choice_text(value);
      const auto near = said ? nearest(*said, choice_names(field)) : std::nullopt;
      return text("expected ", expected(field), ", found ", shown(value), near ? "; did you mean " + *near + "?" : "");
    });
  }

  void set_table(const Scope& scope, const ConfigField& field, const std::string& key, Path path,
                 const ConfigValue& value) {
    if (const auto* table = value.as<ConfigValue::Table>()) return assign_table(scope, path, *table);
    const std::string& shorthand = field.info.shorthand;
    if (!shorthand.empty()) {
      std::vector<std::string> inner(path.begin(), path.end());
      for (const std::string& name : split(shorthand)) inner.push_back(name);
      return assign(scope, inner, value);
    }
    add(value, key, [&] {
      std::vector<std::string> names;
      for (const ConfigField& each : field.table->all()) names.push_back(key + "." + each.name);
      return "expected a table with " + joined(names, ", ") + ", found " + shown(value);
    });
  }

  void set_list(const ConfigField& field, const std::string& key, const ConfigValue& value) {
    const auto* list = value.as<ConfigValue::List>();
    if (!list) return add(value, key, [&] { return "expected a list of tables, found " + shown(value); });
    if (!forget_entries(key, value)) return;
    field.reset(list->size());
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Fields fields = field.entry(i);
      fill_entry(field, {fields, text(key, ".", i, ".")}, (*list)[i]);
    }
  }

  // A list that replaces another takes what was set in it along, unless the same source set it.
  bool forget_entries(const std::string& key, const ConfigValue& value) {
    const std::string prefix = key + ".";
    for (auto each = set_.lower_bound(prefix); each != set_.end() && each->first.starts_with(prefix);) {
      if (source_of_[each->first] == source_) {
        add(value, key, [&] { return "set after its entry " + each->first + "; give the list first"; });
        return false;
      }
      each = set_.erase(each);
    }
    return true;
  }

  // Notes who set a key. False when this source had set it already.
  bool claim(const std::string& key, const ConfigValue& value) {
    const auto found = set_.find(key);
    if (found != set_.end() && source_of_[key] == source_) {
      add(value, key, [&] { return "set twice; first at " + found->second.str(); });
      return false;
    }
    set_[key] = where(value);
    source_of_[key] = source_;
    return true;
  }

  Origin where(const ConfigValue& value) const {
    return {origin_.source, origin_.line > 0 && value.line > 0 ? value.line : origin_.line};
  }

  void add(const ConfigValue& value, const std::string& key, const std::function<std::string()>& sentence) {
    mistakes_.add(where(value), key, sentence);
  }

  Scope root_;
  Mistakes mistakes_;
  Origins set_;
  std::map<std::string, int> source_of_;
  Origin origin_;
  int source_ = 0;
};

}  // namespace

Origins detail::apply(const Settings& settings, const Fields& fields, Missing missing) {
  Applier applier(fields);
  for (const Settings::Assignment& each : settings.assignments()) applier.apply(each);
  if (missing == Missing::kRefused) {
    const auto& all = settings.assignments();
    applier.refuse_missing(all.empty() ? "metadata" : all.front().origin.source);
  }
  return std::move(applier).finish();
}

}  // namespace lacuna
