#pragma once
// Finds the samples inside tar archives, by WebDataset's convention and by folders.
//
// A member with an image's ending is a sample. Members of the same archive that share its key, the name up to the first
// dot of its last part, belong to it: KEY.txt or KEY.caption is its caption, KEY.cls its label, KEY.json may hold both
// (label | class | cls; caption | text | txt, or a list captions), where no other member does. KEY.seg.png beside
// KEY.jpg is no image of its own. Without labels of that kind, folders inside the archive are classes, as they are on
// disk. Hidden names are skipped, "./" in front is dropped.
//
// What cannot be used is a sample with a fault, which the loader names and replaces: a link, device or sparse member, a
// name with "..", an absolute or repeated name, a caption member that is damaged; and, as one sample, all that follows
// damage in an archive.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/source/folder_listing.h"
#include "data/source/sample_table.h"

namespace lacuna {

// "shard-{000..011}.tar" and "{a,b}.tar": every name the pattern stands for, in order. Throws Error for a malformed
// pattern or one with more than a million names.
std::vector<std::string> expand_braces(std::string_view pattern);

struct ArchiveSample {
  std::string name;
  Extent extent;
  std::string label;
  std::vector<std::string> captions;
  std::string fault;  // empty: none
};

// All samples of one archive, in its order. `number` is its place among the archives. Throws Error(kBadData) when the
// file cannot be opened or does not begin as a tar.
std::vector<ArchiveSample> read_archive(const std::filesystem::path& path, std::uint32_t number);

// Several archives at once, in their order. Among several, one that cannot be read at all is a sample with a fault.
std::vector<ArchiveSample> read_archives(const std::vector<std::filesystem::path>& paths, const FoundSoFar& found = {});

// The part of a name that all of them share, up to a slash: "images/" of "images/1.jpg" and "images/x/2.jpg".
std::string common_folder(const std::vector<ArchiveSample>& samples);

}  // namespace lacuna
