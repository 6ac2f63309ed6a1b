#pragma once
// What a path of files holds: from a folder, a list or archives to a table of samples. open_source.h states the rules.

#include <filesystem>

#include "data/source/index_cache.h"
#include "data/source/open_source.h"

namespace lacuna {

// What names the data in caches.
std::string key_of(const SourceConfig& config, Split split);

// From the index cache where it still holds, else read and kept.
Listing list_samples(const SourceConfig& config, Split split);

}  // namespace lacuna
