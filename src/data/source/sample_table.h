#pragma once
// What is known of a source's samples before any image is opened, in columns: a million samples cost some 60 MB and are
// read back from the index cache in one go.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/source/source.h"
#include "data/source/string_list.h"

namespace lacuna {

// Where a sample's file lies inside an archive.
struct Extent {
  std::uint32_t archive = 0;  // position in SampleTable::archives
  std::uint64_t offset = 0, size = 0;
};

struct SampleTable {
  std::filesystem::path root;        // names and archives are relative to it, or absolute
  StringList names;                  // files, or members of archives
  std::vector<std::int32_t> labels;  // positions in `classes`, or kNoLabel
  std::vector<std::string> classes;  // folder names or class names
  StringList captions;               // of sample i: [caption_ends[i - 1], caption_ends[i])
  std::vector<std::uint64_t> caption_ends;

  // Only where the samples are members of archives; else empty.
  std::vector<std::string> archives;
  std::vector<Extent> extents;

  // Samples that are known to be unreadable, in ascending order, and why. They stay samples, so that they are named,
  // counted and replaced like all others that cannot be read.
  std::vector<std::uint64_t> faulty;
  StringList faults;

  void add(std::string_view name, std::int64_t label = kNoLabel, std::span<const std::string> captions_of_it = {});
  void add(std::string_view name, const Extent& extent, std::span<const std::string> captions_of_it = {});
  void add_fault(std::string_view name, const Extent& extent, std::string_view reason);

  std::size_t size() const { return names.size(); }
  std::string_view fault(std::size_t sample) const;  // empty: none known
  std::vector<std::string> captions_of(std::size_t sample) const;

  // Covers names, labels, captions and classes, and the names of archives; not `root`, so data may be moved.
  std::uint64_t fingerprint() const;

  // As bytes, without `root`; and back. Reading throws Error(kBadData) when the columns do not fit together.
  std::string to_bytes() const;
  static SampleTable from_bytes(std::string_view bytes);
};

// Gives each sample the class that `labels` (one for each, empty for none) names: numbers from 0 where every label is
// one, else names, whose classes are the distinct ones sorted by bytes.
void set_labels(SampleTable& table, std::span<const std::string> labels);

// Gives each sample the class of the folder that its name begins with, behind the first `skip` bytes. Names without a
// folder there and samples with a fault keep no label. Classes are sorted by bytes.
void set_folder_labels(SampleTable& table, std::size_t skip = 0);

}  // namespace lacuna
