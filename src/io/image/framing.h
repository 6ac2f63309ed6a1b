#pragma once
// How an image of any shape becomes the square that a network takes.

#include <array>
#include <cstdint>

namespace lacuna {

// kCrop keeps the aspect ratio and cuts the middle out; kSquash does not keep it; kPad keeps it and adds a border.
enum class Fit { kCrop, kSquash, kPad };

// The image is first resized: its short side (kCrop), both sides (kSquash) or its long side (kPad) to `resized` pixels,
// 0 for the network's own side. Then the middle square is cut out, with `fill` where it reaches out of the image.
struct Framing {
  Fit fit = Fit::kCrop;
  std::int64_t resized = 0;
  bool truncates = false;  // offsets of the cut: rounded down as transformers does, else to the nearest, ties to even
  std::array<std::uint8_t, 3> fill = {0, 0, 0};

  bool operator==(const Framing&) const = default;
};

}  // namespace lacuna
