#pragma once
// Which archives a path stands for, and where they lie as plain tars.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/source/open_source.h"

namespace lacuna {

// The archives of a path or pattern ("shard-{000..011}.tar"). Throws Error that names the first that is missing.
std::vector<std::filesystem::path> archives_of(const std::string& pattern);

// Where some of the names say "train" and others "val", "valid", "validation" or "test": those of the split; else all.
std::vector<std::string> archives_of_split(const std::vector<std::string>& names, Split split);

// The archive itself, or, for a compressed one, its content below `cache`: it is unpacked there once, for the members
// of a compressed archive cannot be read in any order. `say` is told the size before that. Throws Error without a cache
// and where the disk is too full.
std::filesystem::path plain_archive(const std::filesystem::path& archive, const std::filesystem::path& cache,
                                    const std::function<void(const std::string&)>& say);

}  // namespace lacuna
