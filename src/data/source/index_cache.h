#pragma once
// Keeps what a listing found, so that the next start of the same data takes a moment.
//
// An entry is one file, named by a hash of its key, that holds the table, the notes of the listing and a stamp of every
// folder, list and archive that was read for it. It counts only while all of these stamps are the same. So it is
// noticed when a file is added, removed or renamed anywhere below a folder, when a list or an archive is written to or
// replaced, and when a folder is exchanged for another. New bytes in an image of the same name are not looked for: an
// index holds names, and images are read anew each time. Nothing that changed in the two seconds before the listing
// began is kept, since a second change within the clock's resolution would go unseen.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/source/sample_table.h"

namespace lacuna {

// The folder for caches: $XDG_CACHE_HOME/lacuna, or .cache/lacuna in the home folder; empty where there is neither.
std::filesystem::path default_cache_folder();

struct Listing {
  SampleTable table;
  std::vector<std::string> notes;              // choices made on the way, for the user
  std::vector<std::filesystem::path> watched;  // folders, lists and archives it was read from
};

class IndexCache {
 public:
  explicit IndexCache(std::filesystem::path folder);  // empty: nothing is kept

  // What was kept under this key, if it still holds. A damaged entry is as good as none.
  std::optional<Listing> find(const std::string& key) const;

  // Keeps a listing that began at `began_ns` (of the system's clock). Returns a sentence for the user where the cache
  // cannot be written; the listing itself is good then too.
  std::optional<std::string> keep(const std::string& key, const Listing& listing, std::int64_t began_ns) const;

  static std::int64_t now_ns();

 private:
  std::filesystem::path file_of(const std::string& key) const;

  std::filesystem::path folder_;
};

}  // namespace lacuna
