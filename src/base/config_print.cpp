// A config as a recipe, and what differs between two.
#include "base/config.h"
#include "base/config_text.h"
#include "base/error.h"
#include "base/join.h"

namespace lacuna {
namespace {

using Kind = ConfigField::Kind;

// Tables and lists are printed after the values of their table, as TOML wants; an empty list is a value.
bool is_section(const ConfigField& field) {
  return field.kind == Kind::kTable || (field.kind == Kind::kList && field.size() > 0);
}

// One line whatever the author of the help wrote: a line break would end the comment.
std::string one_line(std::string words) {
  for (char& c : words) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return words;
}

class RecipePrinter {
 public:
  explicit RecipePrinter(const Origins* set) : set_(set) {}

  // `path` is the section as TOML names it (no entry numbers), `key` as we do (with them).
  void print(const Fields& fields, const std::string& path, const std::string& key) {
    for (const ConfigField& field : fields.all()) {
      if (!is_section(field)) print_value(field, key);
    }
    for (const ConfigField& field : fields.all()) {
      if (is_section(field)) print_section(field, path, key);
    }
  }

  std::string take() && { return std::move(out_); }

 private:
  void print_value(const ConfigField& field, const std::string& key) {
    const std::string words = comment(field, key + field.name);
    if (!words.empty()) out_ += "# " + words + "\n";
    out_ += field.name + " = " + (field.kind == Kind::kList ? "[]" : to_text(field.write())) + "\n";
  }

  void print_section(const ConfigField& field, const std::string& path, const std::string& key) {
    const std::string section = path + field.name;
    const std::string words = comment(field, key + field.name);
    const std::string head = words.empty() ? "\n" : "\n# " + words + "\n";
    if (field.kind == Kind::kTable) {
      out_ += head + "[" + section + "]\n";
      return print(*field.table, section + ".", key + field.name + ".");
    }
    for (std::size_t i = 0; i < field.size(); ++i) {
      out_ += head + "[[" + section + "]]\n";
      print(field.entry(i), section + ".", text(key, field.name, ".", i, "."));
    }
  }

  std::string comment(const ConfigField& field, const std::string& key) const {
    std::vector<std::string> parts;
    if (!field.info.help.empty()) parts.push_back(field.info.help);
    if (!field.info.unit.empty()) parts.push_back("in " + field.info.unit);
    if (const std::string range = range_of(field.info); !range.empty()) parts.push_back(range);
    if (!field.choices.empty()) parts.push_back("one of " + joined(choice_names(field), ", "));
    std::string words = one_line(joined(parts, "; "));
    const auto found = set_ ? set_->find(key) : Origins::const_iterator{};
    if (set_ && found != set_->end()) words += one_line((words.empty() ? "[" : " [") + found->second.str() + "]");
    return words;
  }

  const Origins* set_;
  std::string out_;
};

struct Printed {
  std::string key;
  std::string value;
  bool may_change;
};

std::vector<Printed> printed_values(const Fields& fields) {
  std::vector<Printed> values;
  each_field(fields, Lists::kEntries, "", [&](const std::string& key, const ConfigField& field, bool may_change) {
    if (field.kind == Kind::kValue) values.push_back({key, to_text(field.write()), may_change});
  });
  return values;
}

}  // namespace

std::string detail::to_toml(const Fields& fields, const Origins* set) {
  RecipePrinter printer(set);
  printer.print(fields, "", "");
  return std::move(printer).take();
}

std::vector<Change> detail::diff(const Fields& before, const Fields& after) {
  std::map<std::string, std::string> old;
  const std::vector<Printed> previous = printed_values(before);
  for (const Printed& each : previous) old[each.key] = each.value;
  std::vector<Change> changes;
  for (const Printed& each : printed_values(after)) {
    const auto found = old.find(each.key);
    const std::string was = found == old.end() ? "(none)" : found->second;
    if (was != each.value) changes.push_back({each.key, was, each.value, each.may_change});
    if (found != old.end()) old.erase(found);
  }
  for (const Printed& each : previous) {
    if (old.contains(each.key)) changes.push_back({each.key, each.value, "(none)", each.may_change});
  }
  return changes;
}

}  // namespace lacuna
