#include "data/source/class_names.h"

#include <algorithm>
#include <map>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "data/source/text_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

std::optional<std::size_t> column(const std::vector<std::string>& header, std::string_view name) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

std::map<std::string, std::string> read_names(const fs::path& path) {
  TextFile file(path);
  std::string line;
  if (!file.line(line)) return {};
  const std::vector<std::string> header = split(line, '\t');
  std::optional<std::size_t> code = column(header, "wnid");
  if (!code) code = column(header, "dir");
  const std::optional<std::size_t> name = column(header, "name");
  if (!code || !name) return {};
  std::map<std::string, std::string> names;
  while (file.line(line)) {
    if (line.empty()) continue;
    const std::vector<std::string> fields = split(line, '\t');
    check(fields.size() > std::max(*code, *name), file.place(), ": expected ", header.size(),
          " fields separated by tabs, found ", fields.size());
    names[fields[*code]] = fields[*name];
  }
  return names;
}

std::optional<fs::path> names_file(const fs::path& root) {
  std::error_code ignored;
  const fs::path absolute = fs::absolute(root, ignored).lexically_normal();
  const fs::path folder = absolute.has_filename() ? absolute : absolute.parent_path();
  for (const fs::path& candidate : {folder / "classes.tsv", folder.parent_path() / "classes.tsv"}) {
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> translated_class_names(const fs::path& root, std::vector<std::string> classes) {
  if (classes.empty()) return classes;
  const std::optional<fs::path> path = names_file(root);
  if (!path) return classes;
  const std::map<std::string, std::string> names = read_names(*path);
  for (std::string& name : classes) {
    if (const auto found = names.find(name); found != names.end()) name = found->second;
  }
  return classes;
}

}  // namespace lacuna
