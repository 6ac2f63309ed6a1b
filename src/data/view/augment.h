#pragma once
// Geometry of one sample, equal to torchvision's transforms on Pillow images. Operations on pixels have files of their
// own: color.h, tone.h, blur.h, affine.h; views are made in render.h.
//
// Each random rule is split in two: the draw, which takes random numbers, and the operation, which is a pure function
// of what was drawn.

#include <array>
#include <cstdint>
#include <functional>

#include "base/rng.h"
#include "data/view/color.h"
#include "data/view/view.h"
#include "io/image/image.h"
#include "io/image/resize.h"

namespace lacuna {

// RandomResizedCrop's box: ten tries of an area (uniform share of the image's) and an aspect (log-uniform), then the
// largest centred box whose aspect is allowed. Each try takes uniform numbers from [0, 1) in the order area, aspect
// and, once accepted, top, left.
Box draw_crop(int width, int height, const AugmentConfig& config, const std::function<double()>& uniform);
Box draw_crop(int width, int height, const AugmentConfig& config, Rng& rng);

void flip_horizontal(Image& image);
void flip_vertical(Image& image);

// 3-Augment's simple crop: the image with `margin` pixels around it, of which a part as large as itself is kept, with
// its corner at (left, top) of the padded image. kReflect mirrors without repeating the edge.
enum class Padding { kBlack, kReflect };
Image padded_crop(const Image& image, int margin, Padding padding, int left, int top);

// Where the evaluation transform looks: the image is resized to width x height, then cropped at (left, top), which are
// negative where the crop reaches out by that many pixels.
struct CenterGeometry {
  int width = 0, height = 0, left = 0, top = 0;
};

// torchvision's Resize(short_side) and CenterCrop(crop): the long side truncated, the offsets rounded with ties to
// even. (transformers' CLIP processor truncates the offsets.)
CenterGeometry center_geometry(int width, int height, int short_side, int crop);

// Resize(short_side), then CenterCrop(side), zero where the image is smaller than the crop. Only the pixels that are
// kept are made. Throws Error(kBadData) for an image so elongated that its long side would pass 2^24.
Image center_view(const Image& image, int side, int short_side, Kernel kernel);

// The evaluation transform, stated as timm does: the short side is floor(side / crop_ratio).
Image center_view(const Image& image, int side, Kernel kernel, double crop_ratio);

}  // namespace lacuna
