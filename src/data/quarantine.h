#pragma once
// The list of samples that could not be decoded.
//
// It is a report, never an input: whether a sample is bad is found out anew by every run, so batches do not depend on
// the list and a repaired file comes back by itself. Earlier entries are read only to keep each name listed once.

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <unordered_set>

#include "data/source/source.h"

namespace lacuna {

class Quarantine {
 public:
  // `list` may be empty (nothing is written); else it is a file of JSON lines {"id", "name", "reason"}, created with
  // the first bad sample. A last line that a killed run left unfinished is closed and ignored.
  Quarantine(std::filesystem::path list, std::int64_t source_size, double max_bad_share);

  // Notes a bad sample. Safe to call from many threads. Throws Error(kBadData) when this run has met more distinct bad
  // samples than max(1, max_bad_share * source_size), Error(kUser) when the list cannot be written.
  void add(std::int64_t id, const std::string& name, const std::string& reason);

  std::int64_t met() const;  // distinct bad samples of this run
  const std::filesystem::path& list() const { return list_; }

 private:
  void load();
  void append(const std::string& line);

  const std::filesystem::path list_;
  const std::int64_t source_size_;
  const double max_bad_share_;
  mutable std::mutex mutex_;
  std::unordered_set<std::string> met_, listed_;  // names, as JSON writes them
  bool torn_ = false;                             // the list does not end with a line end
};

}  // namespace lacuna
