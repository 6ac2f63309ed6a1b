// Fields into checkpoint metadata. (The way back is Settings::from_json.)
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/config.h"
#include "base/error.h"

namespace lacuna {
namespace {

nlohmann::json to_json_value(const ConfigValue& value) {
  return std::visit(
      [](const auto& data) -> nlohmann::json {
        using Data = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<Data, ConfigValue::Auto>) {
          return nullptr;
        } else if constexpr (std::is_same_v<Data, ConfigValue::List>) {
          nlohmann::json list = nlohmann::json::array();
          for (const ConfigValue& item : data) list.push_back(to_json_value(item));
          return list;
        } else if constexpr (std::is_same_v<Data, ConfigValue::Table> || std::is_same_v<Data, ConfigValue::Other>) {
          invariant(false, "a field writes neither tables nor dates");
          return nullptr;
        } else {
          return data;
        }
      },
      value.data);
}

}  // namespace

nlohmann::json detail::to_json(const Fields& fields) {
  nlohmann::json json = nlohmann::json::object();
  for (const ConfigField& field : fields.all()) {
    if (field.kind == ConfigField::Kind::kValue) {
      to_text(field.write());  // refuses what no source could give back
      json[field.name] = to_json_value(field.write());
    } else if (field.kind == ConfigField::Kind::kTable) {
      json[field.name] = to_json(*field.table);
    } else {
      json[field.name] = nlohmann::json::array();
      for (std::size_t i = 0; i < field.size(); ++i) json[field.name].push_back(to_json(field.entry(i)));
    }
  }
  return json;
}

}  // namespace lacuna
