#pragma once
// Finds the images below a folder.
//
// The order is that of the bytes of the relative paths, so it is the same on every machine. Names that start with a dot
// are skipped. Links are followed; a folder that can be reached by several names is listed once, under the name that
// comes first, so loops of links end. Dangling links with an image's ending are listed: reading them fails and names
// them, where leaving them out would hide a broken copy.

#include <filesystem>

#include "data/file_source.h"

namespace lacuna {

// All images below `root`, without labels.
FileListing list_folder(const std::filesystem::path& root);

// The tree root/<class>/**/<image>: classes are the sub-folders that hold an image, sorted by bytes. Throws Error when
// an image lies outside all of them.
FileListing list_class_folders(const std::filesystem::path& root);

// As list_class_folders when the images lie in two or more sub-folders and none lies in `root` itself, else as
// list_folder.
FileListing list_any_folder(const std::filesystem::path& root);

}  // namespace lacuna
