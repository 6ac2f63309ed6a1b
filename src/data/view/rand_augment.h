#pragma once
// Chains of operations that recipes for fine-tuning draw: RandAugment as timm has it (rand-m9-mstd0.5-inc1) and DeiT
// III's 3-Augment. Draws are apart from what they do to an image.

#include <optional>
#include <vector>

#include "base/rng.h"
#include "data/view/affine.h"
#include "data/view/color.h"
#include "io/image/image.h"
#include "io/image/resize.h"

namespace lacuna {

// ---- RandAugment

// Strengths grow with the level: "increasing" in timm's names.
enum class RandOp {
  kAutoContrast,
  kEqualize,
  kInvert,
  kRotate,
  kPosterize,
  kSolarize,
  kSolarizeAdd,
  kColor,
  kContrast,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,  // by a share of the width
  kTranslateY,
};
inline constexpr int kRandOps = 15;

struct RandStep {
  RandOp op = RandOp::kInvert;
  double argument = 0.0;  // what argument_of gives; of no meaning for the first three
  Kernel kernel = Kernel::kBicubic;
};

struct RandAugmentConfig {
  int steps = 2;
  double level = 9.0;                               // of 10
  double deviation = 0.5;                           // of the level, which is normal and clamped to [0, 10]
  double probability = 0.5;                         // of each step
  std::optional<Kernel> kernel = Kernel::kBicubic;  // empty: bilinear or bicubic, drawn for each step
};

// Degrees, bits, a threshold, an amount, a factor or a share at this level. `negative` turns the direction where an
// operation has one. Posterize reaches 0 bits, black, at level 10, where Pillow 13 raises an error.
double argument_of(RandOp op, double level, bool negative);

// Operations uniform and with replacement; those that are not applied are not listed.
std::vector<RandStep> draw_rand_augment(const RandAugmentConfig& config, Rng& rng);

Image rand_augment(Image image, const std::vector<RandStep>& steps, const FillColor& fill);

// round(255 * mean) of ImageNet
inline constexpr FillColor kImageNetFill = {124, 116, 104};

// ---- 3-Augment (Touvron et al., "DeiT III", 2022; table 1 and section 3.3)

enum class ThreeOp { kGrayscale, kSolarize, kBlur };

struct ThreeAugment {
  ThreeOp op = ThreeOp::kGrayscale;
  double sigma = 0.0;  // of the blur
  ColorJitter jitter;
};

// One of the three, each as likely; sigma uniform in [0.1, 2].
ThreeAugment draw_three_augment(double color_jitter, Rng& rng);
void three_augment(Image& image, const ThreeAugment& draw);

}  // namespace lacuna
