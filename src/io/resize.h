#pragma once
// Antialiased resampling, bit-equal to Pillow's 8-bit `resize` in its classic pass order (horizontal, then vertical:
// every Pillow up to 12.3, behind all published results).

#include "io/image.h"

namespace lacuna {

enum class Kernel { kBox, kBilinear, kHamming, kBicubic, kLanczos };

// An integer crop in source pixels.
struct Box {
  int left = 0, top = 0, width = 0, height = 0;

  bool operator==(const Box&) const = default;
};

// A source region with fractional edges, in pixels.
struct Region {
  float left = 0, top = 0, right = 0, bottom = 0;
};

// Crops to `box` first, then resizes the crop alone, as torchvision's `resized_crop`: no pixel outside the box
// contributes. The box must lie inside the image.
Image resized_crop(const Image& image, const Box& box, int out_width, int out_height, Kernel kernel);

Image resize(const Image& image, int out_width, int out_height, Kernel kernel);

// Pillow's `resize(box=...)`: samples the region, and pixels of the image just outside it contribute at its edges. The
// region must lie inside the image and must not be empty.
Image resize_region(const Image& image, const Region& region, int out_width, int out_height, Kernel kernel);

// `resize` to width x height, then a crop to `window`, without making the pixels outside it. The window must lie inside
// width x height.
Image resized_window(const Image& image, int width, int height, const Box& window, Kernel kernel);

}  // namespace lacuna
