#pragma once
// Readable names for classes whose folders carry codes ("n01440764" -> "tench").

#include <filesystem>
#include <string>
#include <vector>

namespace lacuna {

// Looks for classes.tsv in `root`, then in the folder above. The file has a header line with the columns `wnid` or
// `dir` (the folder's name) and `name`; other columns are free. Classes it lists are translated, all others, and all
// classes where there is no such file or no such columns, keep their names. Throws Error on a line with missing fields.
std::vector<std::string> translated_class_names(const std::filesystem::path& root, std::vector<std::string> classes);

}  // namespace lacuna
