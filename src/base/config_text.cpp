#include "base/config_text.h"

#include "base/error.h"
#include "base/join.h"

namespace lacuna {
namespace {

void walk(const Fields& fields, Lists lists, const std::string& prefix, bool may_change,
          const std::function<void(const std::string&, const ConfigField&, bool)>& see) {
  for (const ConfigField& field : fields.all()) {
    const std::string key = prefix + field.name;
    const bool changes = may_change || field.info.on_resume == kMayChange;
    see(key, field, changes);
    if (field.kind == ConfigField::Kind::kTable) {
      walk(*field.table, lists, key + ".", changes, see);
    } else if (field.kind == ConfigField::Kind::kList && lists == Lists::kPrototype) {
      walk(*field.table, lists, key + ".N.", changes, see);
    } else if (field.kind == ConfigField::Kind::kList) {
      for (std::size_t i = 0; i < field.size(); ++i) walk(field.entry(i), lists, text(key, ".", i, "."), changes, see);
    }
  }
}

std::string with_article(const std::string& noun) {
  return noun == "text" || noun == "true or false" ? noun : "a " + noun;
}

std::string examples(const ConfigField& field) {
  std::string words = R"( such as "300 epochs", "10k steps", "5 %" or "1.5 M samples")";
  if (field.info.bare) words += text(" (a bare number counts ", name_of(*field.info.bare), ")");
  return words;
}

std::string bound(double limit) {
  const std::string words = to_text({.data = limit});
  return words.ends_with(".0") ? words.substr(0, words.size() - 2) : words;
}

std::string expected_one(const ConfigField& field) {
  if (!field.choices.empty()) return "one of " + joined(choice_names(field), ", ");
  const ConfigField::Type& type = field.type;
  const std::string range = range_of(field.info);
  std::string words = with_article(type.one);
  if (type.is_list && type.count > 0) words = text("a list of ", type.count, " ", type.many);
  if (type.is_list && type.count == 0) words = "a list of " + type.many;
  if (type.one == "duration") words += examples(field);
  if (!range.empty()) words += (type.is_list ? ", each " : " ") + range;
  return words;
}

}  // namespace

void each_field(const Fields& fields, Lists lists, const std::string& prefix,
                const std::function<void(const std::string&, const ConfigField&, bool)>& see) {
  walk(fields, lists, prefix, false, see);
}

std::string expected(const ConfigField& field) {
  if (field.kind == ConfigField::Kind::kTable) return "a table";
  if (field.kind == ConfigField::Kind::kList) return "a list of tables";
  const std::string unit = field.info.unit.empty() ? "" : " (" + field.info.unit + ")";
  return (field.type.may_be_auto ? "auto or " : "") + expected_one(field) + unit;
}

std::string range_of(const FieldInfo& info) {
  const std::string low = info.min ? text(info.above_min ? "above " : "of at least ", bound(*info.min)) : "";
  const std::string high = info.max ? text(info.below_max ? "below " : "at most ", bound(*info.max)) : "";
  if (info.min && info.max) {
    return info.above_min || info.below_max ? low + " and " + high
                                            : text("from ", bound(*info.min), " to ", bound(*info.max));
  }
  return info.max && !info.below_max ? "of " + high : low + high;
}

std::string type_of(const ConfigField& field) {
  if (field.kind == ConfigField::Kind::kTable) return "table";
  if (field.kind == ConfigField::Kind::kList) return "list of tables";
  std::string words = field.choices.empty() ? field.type.one : joined(choice_names(field), " | ");
  if (field.type.is_list) words = (field.type.count > 0 ? text(field.type.count, " ") : "list of ") + field.type.many;
  return (field.type.may_be_auto ? "auto | " : "") + words;
}

std::vector<std::string> choice_names(const ConfigField& field) {
  std::vector<std::string> names;
  for (const ConfigField::Choice& choice : field.choices) names.push_back(choice.name);
  return names;
}

}  // namespace lacuna
