#include "data/view/view.h"

#include "base/config.h"

namespace lacuna {

void AugmentConfig::fields(Fields& f) {
  f.add("crop_min", crop_min,
        {.help = "smallest crop, as a share of the image's area", .min = 0, .max = 1, .above_min = true});
  f.add("crop_max", crop_max,
        {.help = "largest crop, as a share of the image's area", .min = 0, .max = 1, .above_min = true});
  f.add("aspect_min", aspect_min, {.help = "flattest crop, width over height", .min = 0, .above_min = true});
  f.add("aspect_max", aspect_max, {.help = "widest crop, width over height", .min = 0, .above_min = true});
  f.add("flip", flip, {.help = "probability of a horizontal flip", .min = 0, .max = 1});
  f.add("color_jitter", color_jitter,
        {.help = "brightness, contrast and saturation change by up to this factor; 0 is off",
         .min = 0,
         .max = 10,
         .aliases = {"color_jitter"}});
  f.add("pass_order", pass_order, kPassOrders,
        {.help = "which pass of a resize comes first: classic is Pillow's up to 12.3, behind all published results; "
                 "pillow13 is Pillow 13's, which differs in tall crops"});
  f.add("fast_decode", fast_decode,
        {.help = "JPEGs whose crop is at least three times as wide and high as the view are decoded at 1/2, 1/4 or 1/8 "
                 "of their size: "
                 "faster for large photographs, and not the reference's pixels"});
  f.add("hue", hue,
        {.help = "the jitter turns hues by up to this share of the circle; 0 is off", .min = 0, .max = 0.5});
  f.add("grayscale", grayscale, {.help = "probability of grayscale", .min = 0, .max = 1});
  f.add("blur", blur, {.help = "probability of a Gaussian blur (Pillow's)", .min = 0, .max = 1});
  f.add("blur_min", blur_min, {.help = "smallest sigma of the blur", .unit = "pixels", .min = 0, .max = 100});
  f.add("blur_max", blur_max, {.help = "largest sigma of the blur", .unit = "pixels", .min = 0, .max = 100});
  f.add("solarize", solarize, {.help = "probability of inverting the bright levels", .min = 0, .max = 1});
}

}  // namespace lacuna
