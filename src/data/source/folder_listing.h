#pragma once
// Finds the images below a folder.
//
// The order is that of the bytes of the relative paths, so it is the same on every machine. Names that start with a dot
// are skipped. Links are followed; a folder that can be reached by several names is listed once, under the name that
// comes first, so loops of links end. Dangling links with an image's ending are listed: reading them fails and names
// them, where leaving them out would hide a broken copy.
//
// Folders are read by several threads, for on network disks each costs a wait; where a link leads to a folder, by one,
// for then the names that are met first depend on the order.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/source/sample_table.h"

namespace lacuna {

// Told now and then how many files were found so far, from any thread.
using FoundSoFar = std::function<void(std::int64_t files)>;

struct FolderScan {
  std::filesystem::path root;
  std::vector<std::string> images;             // relative to the root, sorted
  std::vector<std::string> archives;           // .tar, .tar.gz, .tgz, .tar.zst likewise
  std::vector<std::filesystem::path> folders;  // all that were read; their stamps change when a name comes or goes
  std::string others;                          // "12 other files (10 .zip, 2 .txt)", or "no files at all"
};

FolderScan scan_folder(const std::filesystem::path& root, const FoundSoFar& found = {});

enum class FolderLayout {
  kFlat,     // all images, without labels
  kClasses,  // root/<class>/**/<image>; Error when an image lies outside all of them
  kAny,      // classes when the images lie in two or more sub-folders and none lies in the root itself, else flat
};

// Throws Error when the scan holds no image.
SampleTable list_images(FolderScan scan, FolderLayout layout);

// Whether the name, in any case, ends as one of an archive that can be read.
bool is_archive_name(std::string_view name);

}  // namespace lacuna
