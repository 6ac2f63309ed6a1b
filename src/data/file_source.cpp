#include "data/file_source.h"

#include <string_view>

#include "io/positioned_file.h"

namespace lacuna {

void FileSource::append_name(std::size_t sample, std::string& name) const {
  const std::string_view path = table().names[sample];
  if (!path.starts_with('/')) name += table().root.native();
  if (!name.empty() && !name.ends_with('/')) name += '/';
  name += path;
}

void FileSource::read([[maybe_unused]] std::size_t sample, const std::string& name,
                      std::vector<std::uint8_t>& bytes) const {
  read_whole_file(name, max_bytes(), bytes);
}

}  // namespace lacuna
