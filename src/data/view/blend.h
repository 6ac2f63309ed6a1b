#pragma once
// Two pieces of Pillow's arithmetic that several operations share.

#include <algorithm>
#include <cstdint>

namespace lacuna {

// a + factor * (b - a) in float32, truncated; a factor outside [0, 1] can leave the range of a byte.
inline std::uint8_t blend(int a, int b, float factor) {
  const float value = static_cast<float>(a) + factor * static_cast<float>(b - a);
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

// Of an RGB pixel, by ITU-R 601-2 in 16-bit fixed point.
inline int luma(const std::uint8_t* pixel) {
  return (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 32768) >> 16;
}

}  // namespace lacuna
