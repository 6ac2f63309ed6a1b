#pragma once
// Which parts of an image are erased, and how the images of a batch are mixed: the draws and the boxes. What is done to
// tensors with them is in train/mix.h.

#include <functional>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "io/image/resize.h"

namespace lacuna {

// ---- Random erasing (Zhong et al., 2017; timm's rule)

struct EraseConfig {
  double probability = 0.25;                     // of an image
  double min_area = 0.02, max_area = 1.0 / 3.0;  // share of the image, over all boxes
  double min_aspect = 0.3;                       // up to its inverse
  int min_count = 1, max_count = 1;              // boxes
};

// Up to `count` boxes inside width x height; a box that fits in none of ten tries is left out. Each try takes uniform
// numbers from [0, 1) in the order area, aspect and, once accepted, top, left.
std::vector<Box> erase_boxes(int width, int height, int count, const EraseConfig& config,
                             const std::function<double()>& uniform);

// Empty where the image is spared.
std::vector<Box> draw_erase(int width, int height, const EraseConfig& config, Rng& rng);

// ---- Mixup (Zhang et al., 2017) and CutMix (Yun et al., 2019), as timm combines them

enum class MixMode {
  kBatch,  // one draw for all images
  kPair,   // one for each pair of partners
  kElem,   // one for each image
};

struct MixConfig {
  double mixup_alpha = 0.8;         // of Beta(alpha, alpha); 0 is off
  double cutmix_alpha = 1.0;        // 0 is off
  double probability = 1.0;         // of mixing at all
  double switch_probability = 0.5;  // of CutMix where both are on
  MixMode mode = MixMode::kBatch;
};

// What one image becomes: `own` of itself and the rest of its partner's, which is the image as far from the other end
// of the batch. With a box, the box holds the partner's pixels; `own` is then the share of pixels that stay.
struct Mix {
  double own = 1.0;
  std::optional<Box> box;
};

// CutMix's box about (x, y) for a share `own`, cut off at the image's edges, and the share that is then really kept.
Mix cut_mix(int width, int height, double own, int x, int y);

// One for each image of a batch of even size.
std::vector<Mix> draw_mix(int batch, int width, int height, const MixConfig& config, Rng& rng);

// Beta(alpha, alpha), from two gamma variates (Marsaglia and Tsang, 2000).
double draw_beta(double alpha, Rng& rng);

}  // namespace lacuna
