#pragma once
// What the targets of the image decoders share: a small budget, so that a run does many files, and the two outcomes
// that are right: an image of the size that it says, or Error(kBadData).

#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "io/image/decoders.h"

namespace lacuna::fuzz {

inline constexpr DecodeLimits kLimits{
    .max_pixels = 1 << 20, .max_file_bytes = 1 << 20, .max_progressive_scans = 50, .max_side = 1 << 14};

template <class Decode>
int try_image(const std::uint8_t* data, std::size_t size, Decode decode) {
  try {
    const Image image = decode(std::span(data, size));
    const std::int64_t pixels = std::int64_t{image.width} * image.height;
    if (image.width <= 0 || image.height <= 0 || pixels > kLimits.max_pixels) std::abort();
    if (image.pixels.size() != static_cast<std::size_t>(pixels) * 3) std::abort();
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) std::abort();
  }
  return 0;
}

}  // namespace lacuna::fuzz
