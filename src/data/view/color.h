#pragma once
// Changes of colour, equal to Pillow's and torchvision's to the byte.

#include <array>
#include <optional>

#include "base/rng.h"
#include "io/image/image.h"

namespace lacuna {

// Pillow's ImageEnhance: blends black, the mean gray or the luma image (factor 0) with the image (factor 1) in float32,
// truncated and clamped to 8 bits. Factors are at least 0.
void adjust_brightness(Image& image, double factor);
void adjust_contrast(Image& image, double factor);
void adjust_saturation(Image& image, double factor);

// torchvision's adjust_hue: 8-bit HSV, turned by `shift` in [-0.5, 0.5] of the circle, and back. Not the identity at 0:
// the way through HSV rounds.
void adjust_hue(Image& image, double shift);

void to_grayscale(Image& image);  // luma in all three channels

enum class ColorOp { kBrightness, kContrast, kSaturation, kHue };

struct ColorJitter {
  double brightness = 1.0;
  double contrast = 1.0;
  double saturation = 1.0;
  std::array<ColorOp, 4> order = {ColorOp::kBrightness, ColorOp::kContrast, ColorOp::kSaturation, ColorOp::kHue};
  std::optional<double> hue;  // left alone where empty
};

// torchvision's ColorJitter: factors uniform in [max(0, 1 - strength), 1 + strength], the shift of the hue in
// [-hue, hue], the order a uniform permutation. Without hue it takes the numbers that it would take if there were none.
ColorJitter draw_color_jitter(double strength, Rng& rng);
ColorJitter draw_color_jitter(double strength, double hue, Rng& rng);
void color_jitter(Image& image, const ColorJitter& jitter);

}  // namespace lacuna
