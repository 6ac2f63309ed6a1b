#include "data/source/file_source.h"

#include <string_view>

#include "base/cores.h"
#include "data/parallel.h"
#include "io/files.h"
#include "io/positioned_file.h"

namespace lacuna {

void FileSource::append_name(std::size_t sample, std::string& name) const {
  const std::string_view path = table().names[sample];
  if (!path.starts_with('/')) name += table().root.native();
  if (!name.empty() && !name.ends_with('/')) name += '/';
  name += path;
}

std::uint64_t FileSource::stamp() const {
  std::vector<std::uint64_t> stamps(static_cast<std::size_t>(size()));
  for_each_index(size(), usable_cores(), [&](std::int64_t i) {
    if (const auto stamp = stamp_of(name(i)))
      stamps[static_cast<std::size_t>(i)] =
          stamp->size * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(stamp->modified_ns);
  });
  return fingerprint() ^ content_hash64(std::as_bytes(std::span(stamps)));
}

void FileSource::read([[maybe_unused]] std::size_t sample, const std::string& name,
                      std::vector<std::uint8_t>& bytes) const {
  read_whole_file(name, max_bytes(), bytes);
}

}  // namespace lacuna
