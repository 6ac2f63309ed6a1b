#pragma once
// Per-channel statistics of pixels scaled to [0, 1]. A network sees (pixel / 255 - mean) / std.

#include <cstddef>
#include <vector>

namespace lacuna {

inline constexpr std::size_t kMaxChannels = 64;  // that a network may see

struct PixelStats {
  std::vector<double> mean;  // [channels]
  std::vector<double> std;   // [channels]
  bool operator==(const PixelStats&) const = default;
};

inline const PixelStats kImageNetStats{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
inline const PixelStats kClipStats{{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}};

}  // namespace lacuna
