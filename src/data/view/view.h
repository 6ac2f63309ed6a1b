#pragma once
// What a consumer wants to see of a sample. The loader knows views, and no method.

#include <cstddef>

#include "base/config_fields.h"
#include "io/image/pixel_stats.h"
#include "io/image/resize.h"

namespace lacuna {

// One square rendering of the (single) crop of a sample.
struct ViewSpec {
  int side = 224;
  Kernel kernel = Kernel::kBicubic;
  PixelStats stats = kImageNetStats;
  int crop = 0;      // views of one crop share its geometry and colour; crops of a sample are independent draws
  int spectrum = 0;  // so many channels of the sample's spectrum are seen (Sheets); 0: red, green and blue

  int channels() const { return spectrum > 0 ? spectrum : 3; }
  std::size_t bytes() const { return static_cast<std::size_t>(side) * side * static_cast<std::size_t>(channels()); }
};

inline constexpr Named<PassOrder> kPassOrders[] = {{PassOrder::kClassic, "classic"},
                                                   {PassOrder::kPillow13, "pillow13"}};

// Geometry and colour drawn once per sample and shared by all its views. In CAE v2's order: jitter on the whole image,
// flip, crop; then, as DINO, BYOL and DeiT III do, grayscale, blur and solarize on what was cropped and resized. All of
// it by torchvision's rules.
struct AugmentConfig {
  double crop_min = 0.4;  // share of the image's area
  double crop_max = 1.0;
  double aspect_min = 3.0 / 4.0;
  double aspect_max = 4.0 / 3.0;
  double flip = 0.5;          // probability
  double color_jitter = 0.4;  // brightness, contrast and saturation factors in [1 - j, 1 + j]; 0 switches it off
  PassOrder pass_order = PassOrder::kClassic;
  bool fast_decode = false;
  double hue = 0.0;                       // shift in [-hue, hue] of the circle, a part of the jitter; 0 switches it off
  double grayscale = 0.0;                 // probability
  double blur = 0.0;                      // probability of Pillow's Gaussian blur
  double blur_min = 0.1, blur_max = 2.0;  // sigma, in pixels of the widest view; narrower ones get their share of it
  double solarize = 0.0;                  // probability of inverting the levels from 128 on

  void fields(Fields& f);
};

}  // namespace lacuna
