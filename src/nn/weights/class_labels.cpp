#include "nn/weights/class_labels.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/json_reader.h"

namespace lacuna {

using Json = nlohmann::json;

std::vector<std::string> read_class_labels(const std::filesystem::path& folder, std::int64_t classes) {
  const std::filesystem::path file = folder / "config.json";
  std::error_code ignored;
  if (classes == 0 || !std::filesystem::is_regular_file(file, ignored)) return {};
  const Json config = read_json(file, kMaxConfigBytes);
  if (!config.is_object()) return {};
  const bool by_id = config.contains("id2label");
  const char* key = by_id ? "id2label" : "label_names";
  const Json names = config.value(key, Json());
  if (names.is_null()) return {};
  check(by_id ? names.is_object() : names.is_array(), file.string(), ": key '", key, "': expected the names of ",
        classes, " classes, found ", names.type_name());
  check(names.size() == static_cast<std::size_t>(classes), file.string(), ": key '", key, "' names ", names.size(),
        " classes, but the classifier has ", classes);
  std::vector<std::string> out;
  for (std::int64_t i = 0; i < classes; ++i) {
    const Json name = by_id ? names.value(std::to_string(i), Json()) : names[static_cast<std::size_t>(i)];
    check(name.is_string(), file.string(), ": key '", key, "': expected a name for class ", i, ", found ",
          name.type_name());
    out.push_back(name.get<std::string>());
  }
  return out;
}

}  // namespace lacuna
