#include "data/view/rand_augment.h"

#include <algorithm>
#include <utility>

#include "data/view/blur.h"
#include "data/view/tone.h"

namespace lacuna {
namespace {

constexpr double kTopLevel = 10.0;
constexpr int kSolarizeThreshold = 128;

int whole(double value) { return static_cast<int>(value); }  // truncated, as Python's int()

bool is_geometric(RandOp op) {
  return op == RandOp::kRotate || op == RandOp::kShearX || op == RandOp::kShearY || op == RandOp::kTranslateX ||
         op == RandOp::kTranslateY;
}

void apply(Image& image, const RandStep& step, const FillColor& fill) {
  const double argument = step.argument;
  const auto transform = [&](const AffineMatrix& matrix) { image = transformed(image, matrix, step.kernel, fill); };
  switch (step.op) {
    case RandOp::kAutoContrast:
      return auto_contrast(image);
    case RandOp::kEqualize:
      return equalize(image);
    case RandOp::kInvert:
      return invert(image);
    case RandOp::kRotate:
      image = rotated(image, argument, step.kernel, fill);
      return;
    case RandOp::kPosterize:
      return posterize(image, whole(argument));
    case RandOp::kSolarize:
      return solarize(image, whole(argument));
    case RandOp::kSolarizeAdd:
      return solarize_add(image, whole(argument), kSolarizeThreshold);
    case RandOp::kColor:
      return adjust_saturation(image, argument);
    case RandOp::kContrast:
      return adjust_contrast(image, argument);
    case RandOp::kBrightness:
      return adjust_brightness(image, argument);
    case RandOp::kSharpness:
      return adjust_sharpness(image, argument);
    case RandOp::kShearX:
      return transform(shear_x(argument));
    case RandOp::kShearY:
      return transform(shear_y(argument));
    case RandOp::kTranslateX:
      return transform(shift(argument * image.width, 0.0));
    case RandOp::kTranslateY:
      return transform(shift(0.0, argument * image.height));
  }
}

}  // namespace

double argument_of(RandOp op, double level, bool negative) {
  const double share = level / kTopLevel;
  const auto directed = [negative](double value) { return negative ? -value : value; };
  switch (op) {
    case RandOp::kAutoContrast:
    case RandOp::kEqualize:
    case RandOp::kInvert:
      return 0.0;
    case RandOp::kRotate:
      return directed(share * 30.0);
    case RandOp::kPosterize:
      return 4 - whole(share * 4);
    case RandOp::kSolarize:
      return 256 - std::min(256, whole(share * 256));
    case RandOp::kSolarizeAdd:
      return std::min(128, whole(share * 110));
    case RandOp::kColor:
    case RandOp::kContrast:
    case RandOp::kBrightness:
    case RandOp::kSharpness:
      return std::max(0.1, 1.0 + directed(share * 0.9));
    case RandOp::kShearX:
    case RandOp::kShearY:
      return directed(share * 0.3);
    case RandOp::kTranslateX:
    case RandOp::kTranslateY:
      return directed(share * 0.45);
  }
  return 0.0;
}

std::vector<RandStep> draw_rand_augment(const RandAugmentConfig& config, Rng& rng) {
  std::vector<RandStep> steps;
  for (int i = 0; i < config.steps; ++i) {
    RandStep step{.op = static_cast<RandOp>(rng.integer(0, kRandOps - 1))};
    if (!rng.chance(config.probability)) continue;
    const double level = std::clamp(config.level + config.deviation * rng.normal(), 0.0, kTopLevel);
    step.argument = argument_of(step.op, level, rng.chance(0.5));
    if (config.kernel)
      step.kernel = *config.kernel;
    else if (is_geometric(step.op))
      step.kernel = rng.chance(0.5) ? Kernel::kBilinear : Kernel::kBicubic;
    steps.push_back(step);
  }
  return steps;
}

Image rand_augment(Image image, const std::vector<RandStep>& steps, const FillColor& fill) {
  for (const RandStep& step : steps) apply(image, step, fill);
  return image;
}

ThreeAugment draw_three_augment(double strength, Rng& rng) {
  ThreeAugment draw{.op = static_cast<ThreeOp>(rng.integer(0, 2))};
  draw.sigma = rng.uniform(0.1, 2.0);
  draw.jitter = draw_color_jitter(strength, rng);
  return draw;
}

void three_augment(Image& image, const ThreeAugment& draw) {
  switch (draw.op) {
    case ThreeOp::kGrayscale:
      to_grayscale(image);
      break;
    case ThreeOp::kSolarize:
      solarize(image, kSolarizeThreshold);
      break;
    case ThreeOp::kBlur:
      gaussian_blur(image, draw.sigma);
      break;
  }
  color_jitter(image, draw.jitter);
}

}  // namespace lacuna
