#pragma once
// What the classes of somebody else's classifier are called.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lacuna {

// The names in `folder`/config.json: transformers' id2label or timm's label_names, by class. Empty where there is no
// such file or neither key. Throws Error where there are other names than one for each of the `classes`.
std::vector<std::string> read_class_labels(const std::filesystem::path& folder, std::int64_t classes);

}  // namespace lacuna
