#pragma once
// Images as PNG files, for pictures of reconstructions and the like.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "io/image/image.h"

namespace lacuna {

// An 8-bit RGB PNG. The image must not be empty.
std::vector<std::uint8_t> encode_png(const Image& image);

// Writes beside `path`, then renames: a reader sees the whole file or none. Throws Error when the place cannot be
// written.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace lacuna
