#include "data/file_source.h"

#include "io/positioned_file.h"

namespace lacuna {

std::string FileSource::name(std::int64_t index) const {
  return (table().root / table().names[checked(index)]).string();
}

bool FileSource::encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const {
  const std::string path = name(index);
  const PositionedFile file(path);
  const std::uint64_t size = file.stamp().size;
  check_size(size, path);
  bytes.resize(static_cast<std::size_t>(size));
  file.read(0, std::as_writable_bytes(std::span(bytes)));
  return true;
}

}  // namespace lacuna
