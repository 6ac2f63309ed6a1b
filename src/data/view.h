#pragma once
// What a consumer wants to see of a sample. The loader knows views, and no method.

#include "base/config_fields.h"
#include "io/pixel_stats.h"
#include "io/resize.h"

namespace lacuna {

// One square rendering of the (single) crop of a sample.
struct ViewSpec {
  int side = 224;
  Kernel kernel = Kernel::kBicubic;
  PixelStats stats = kImageNetStats;
  int crop = 0;  // views of one crop share its geometry and colour; crops of a sample are independent draws
};

inline constexpr Named<PassOrder> kPassOrders[] = {{PassOrder::kClassic, "classic"},
                                                   {PassOrder::kPillow13, "pillow13"}};

// Geometry and colour drawn once per sample and shared by all its views, in CAE v2's order: jitter on the whole image,
// flip, crop (cae.md section 3; torchvision's rules for each draw).
struct AugmentConfig {
  double crop_min = 0.4;  // share of the image's area
  double crop_max = 1.0;
  double aspect_min = 3.0 / 4.0;
  double aspect_max = 4.0 / 3.0;
  double flip = 0.5;          // probability
  double color_jitter = 0.4;  // brightness, contrast and saturation factors in [1 - j, 1 + j]; 0 switches it off
  PassOrder pass_order = PassOrder::kClassic;

  void fields(Fields& f);
};

}  // namespace lacuna
