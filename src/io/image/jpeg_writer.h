#pragma once
// Images as JPEG files.

#include <cstdint>
#include <vector>

#include "io/image/image.h"

namespace lacuna {

// Baseline JPEG with optimised Huffman tables and 4:2:0 chroma, as most programs write photographs. `quality` is
// libjpeg's, 1 to 100. The image must not be empty and no side longer than 65,500 pixels.
std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality);

}  // namespace lacuna
