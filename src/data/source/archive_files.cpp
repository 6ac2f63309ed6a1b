#include "data/source/archive_files.h"

#include <algorithm>
#include <cctype>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "data/source/archive_listing.h"
#include "data/source/folder_listing.h"
#include "data/source/text_file.h"
#include "io/files.h"
#include "io/positioned_file.h"
#include "io/unpack.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Images hardly compress, captions do; more than this is no archive of a data set but a bomb.
constexpr std::uint64_t kMaxRatio = 200;
constexpr std::uint64_t kAlwaysAllowed = std::uint64_t{64} << 20;

bool has_word(const std::string& name, std::initializer_list<std::string_view> wanted) {
  std::string word;
  for (const char c : lower_case(fs::path(name).filename().string()) + '.') {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += c;
      continue;
    }
    if (std::find(wanted.begin(), wanted.end(), word) != wanted.end()) return true;
    word.clear();
  }
  return false;
}

fs::path unpacked_place(const fs::path& archive, const fs::path& cache) {
  const auto stamp = stamp_of(archive);
  check(stamp.has_value(), archive.string(), ": cannot be read");
  std::error_code ignored;
  const std::string key =
      text(fs::absolute(archive, ignored).string(), '|', stamp->inode, '|', stamp->size, '|', stamp->modified_ns);
  ContentHash hash;
  hash.update(std::as_bytes(std::span(key.data(), key.size())));
  return cache / "unpacked" / (hash.hex() + ".tar");
}

}  // namespace

std::vector<fs::path> archives_of(const std::string& pattern) {
  std::vector<fs::path> files;
  std::error_code ignored;
  if (fs::exists(pattern, ignored)) return {pattern};
  for (std::string& name : expand_braces(pattern)) files.emplace_back(std::move(name));
  const auto missing = [&](const fs::path& file) { return !fs::exists(file, ignored); };
  const auto first = std::find_if(files.begin(), files.end(), missing);
  if (first != files.end())
    fail("data.path = \"", pattern, "\": expected ", files.size(), files.size() == 1 ? " archive" : " archives",
         ", found no ", first->string(), " (", std::count_if(files.begin(), files.end(), missing),
         " missing). Correct the path");
  return files;
}

std::vector<std::string> archives_of_split(const std::vector<std::string>& names, Split split) {
  if (split == Split::kAll) return names;
  std::vector<std::string> train, val;
  for (const std::string& name : names) {
    if (has_word(name, {"train"})) train.push_back(name);
    if (has_word(name, {"val", "valid", "validation", "test"})) val.push_back(name);
  }
  if (train.empty() || val.empty()) return names;
  return split == Split::kTrain ? train : val;
}

fs::path plain_archive(const fs::path& archive, const fs::path& cache,
                       const std::function<void(const std::string&)>& say) {
  if (!is_compressed_name(archive)) return archive;
  const bool zstd = lower_case(archive.extension().string()).ends_with("zst");
  check(!cache.empty(), archive.string(),
        ": a compressed archive cannot be read in any order, and data.cache is off, so ",
        "it cannot be unpacked there. Unpack it once yourself: ", zstd ? "zstd -d " : "gzip -dk ", archive.string());
  const fs::path place = unpacked_place(archive, cache);
  std::error_code failed;
  if (fs::exists(place, failed)) return place;
  fs::create_directories(place.parent_path(), failed);
  check(!failed, place.parent_path().string(), ": the folder cannot be created (", failed.message(),
        "); name another by data.cache=DIR");
  const std::uint64_t packed = fs::file_size(archive), claimed = std::max(claimed_size(archive), packed);
  if (say) say(text("unpacking ", archive.string(), " once: ", human_bytes(claimed), " in ", place.string()));
  const std::uint64_t bound = std::max(kAlwaysAllowed, kMaxRatio * packed);
  AtomicFile file(place, claimed);
  unpack(archive, std::min(bound, free_bytes(place)), [&file](std::span<const std::byte> piece) { file.write(piece); });
  file.commit();
  return place;
}

}  // namespace lacuna
