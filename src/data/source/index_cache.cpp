#include "data/source/index_cache.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/files.h"
#include "io/positioned_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "lacuna index 1\n";
constexpr std::int64_t kSettled = 2'000'000'000;  // file systems tell times to two seconds or better
constexpr std::size_t kHashDigits = 32;

std::string_view stamp_bytes(const FileStamp& stamp) {
  static_assert(sizeof(FileStamp) == 4 * sizeof(std::uint64_t));
  return {reinterpret_cast<const char*>(&stamp), sizeof stamp};
}

std::string hash_of(std::string_view bytes) {
  ContentHash hash;
  hash.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return hash.hex();
}

void put(std::string& out, std::string_view value) {
  const std::uint64_t size = value.size();
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += value;
}

std::string_view take(std::string_view& in) {
  std::uint64_t size = 0;
  if (in.size() < sizeof size) fail_data("an index that ends too early");
  std::memcpy(&size, in.data(), sizeof size);
  in.remove_prefix(sizeof size);
  if (size > in.size()) fail_data("an index that ends too early");
  const std::string_view value = in.substr(0, static_cast<std::size_t>(size));
  in.remove_prefix(value.size());
  return value;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) put(out, line);
  return out;
}

bool unchanged(std::string_view watched, Listing& listing) {
  while (!watched.empty()) {
    fs::path path(take(watched));
    const std::string_view stamp = take(watched);
    const auto now = stamp_of(path);
    if (!now || stamp_bytes(*now) != stamp) return false;
    listing.watched.push_back(std::move(path));
  }
  return true;
}

std::optional<Listing> read_entry(std::string_view content, const std::string& key) {
  if (!content.starts_with(kMagic) || content.size() < kMagic.size() + kHashDigits) return std::nullopt;
  std::string_view body = content.substr(kMagic.size() + kHashDigits);
  if (hash_of(body) != content.substr(kMagic.size(), kHashDigits) || take(body) != key) return std::nullopt;
  Listing listing;
  if (!unchanged(take(body), listing)) return std::nullopt;
  for (std::string_view notes = take(body); !notes.empty();) listing.notes.emplace_back(take(notes));
  const std::string_view root = take(body);
  listing.table = SampleTable::from_bytes(body);
  listing.table.root = root;
  return listing;
}

}  // namespace

fs::path default_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return fs::path(cache) / "lacuna";
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? fs::path(home) / ".cache" / "lacuna" : fs::path();
}

IndexCache::IndexCache(fs::path folder) : folder_(std::move(folder)) {}

std::int64_t IndexCache::now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

fs::path IndexCache::file_of(const std::string& key) const { return folder_ / (hash_of(key) + ".index"); }

std::optional<Listing> IndexCache::find(const std::string& key) const {
  std::error_code ignored;
  if (folder_.empty() || !fs::is_regular_file(file_of(key), ignored)) return std::nullopt;
  try {
    const MappedFile file(file_of(key));
    return read_entry({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, key);
  } catch (const Error&) {
    return std::nullopt;  // unreadable or damaged: the data is listed anew
  }
}

std::optional<std::string> IndexCache::keep(const std::string& key, const Listing& listing,
                                            std::int64_t began_ns) const {
  if (folder_.empty()) return std::nullopt;
  std::string watched;
  for (const fs::path& path : listing.watched) {
    const auto stamp = stamp_of(path);
    if (!stamp || stamp->modified_ns > began_ns - kSettled) return std::nullopt;
    put(watched, path.string());
    put(watched, stamp_bytes(*stamp));
  }
  std::string body;
  put(body, key);
  put(body, watched);
  put(body, joined(listing.notes));
  put(body, listing.table.root.string());
  body += listing.table.to_bytes();
  try {
    fs::create_directories(folder_);
    write_file_atomic(file_of(key), std::string(kMagic) + hash_of(body) + body);
  } catch (const std::exception& error) {
    return text("the index of the data could not be kept for the next start: ", error.what());
  }
  return std::nullopt;
}

}  // namespace lacuna
