#include "data/source/portable_index.h"

#include <algorithm>
#include <cstdint>
#include <system_error>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "lacuna portable index 1\n";
constexpr std::size_t kHashDigits = 32;

std::string hash_of(std::string_view bytes) {
  ContentHash hash;
  hash.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return hash.hex();
}

// An index that came with the data may not lead out of its folder.
bool stays_inside(const std::string& archive) {
  const fs::path path(archive);
  return !path.is_absolute() && std::find(path.begin(), path.end(), "..") == path.end();
}

// One number for the sizes of all archives.
std::string sizes_of(const fs::path& folder, const SampleTable& table) {
  std::string sizes;
  for (const std::string& archive : table.archives) {
    std::error_code missing;
    const std::uintmax_t size = fs::file_size(folder / archive, missing);
    sizes += missing ? "none|" : std::to_string(size) + '|';
  }
  return hash_of(sizes);
}

}  // namespace

void write_portable_index(const fs::path& folder, const SampleTable& table) {
  const std::string body = sizes_of(folder, table) + table.to_bytes();
  write_file_atomic(folder / kPortableIndex, std::string(kMagic) + hash_of(body) + body);
}

std::optional<SampleTable> read_portable_index(const fs::path& folder, std::string& note) {
  const fs::path path = folder / kPortableIndex;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  const MappedFile file(path);
  std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const auto unfit = [&](const char* why) {
    note = text(path.string(), ": ", why, "; the archives are read anew");
    return std::nullopt;
  };
  if (!content.starts_with(kMagic) || content.size() < kMagic.size() + 2 * kHashDigits)
    return unfit("is no index of this version");
  const std::string_view body = content.substr(kMagic.size() + kHashDigits);
  if (hash_of(body) != content.substr(kMagic.size(), kHashDigits)) return unfit("the index is damaged");
  try {
    SampleTable table = SampleTable::from_bytes(body.substr(kHashDigits));
    if (!std::all_of(table.archives.begin(), table.archives.end(), stays_inside))
      return unfit("an archive lies outside of the folder");
    if (sizes_of(folder, table) != body.substr(0, kHashDigits))
      return unfit("an archive has another size than it says");
    table.root = folder;
    return table;
  } catch (const Error&) {
    return unfit("the index is damaged");
  }
}

}  // namespace lacuna
