#pragma once
// Per-channel statistics of pixels scaled to [0, 1]. A network sees (pixel / 255 - mean) / std.

#include <array>

namespace lacuna {

struct PixelStats {
  std::array<double, 3> mean;
  std::array<double, 3> std;
  bool operator==(const PixelStats&) const = default;
};

inline constexpr PixelStats kImageNetStats{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
inline constexpr PixelStats kClipStats{{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}};

}  // namespace lacuna
