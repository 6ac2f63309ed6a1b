#pragma once
// A compressed file as a whole, with a bound on what it may unpack to.

#include <cstdint>
#include <filesystem>
#include <string>

namespace lacuna {

// Throws Error(kBadData) when the file is no gzip (or zstd), is cut off or damaged, larger than `max_file`, or would
// unpack to more than `max_bytes`.
std::string read_gzip(const std::filesystem::path& path, std::uint64_t max_file, std::uint64_t max_bytes);

}  // namespace lacuna
