#include "mim/pixels.h"

#include "base/error.h"
#include "nn/shapes.h"

namespace lacuna {

at::Tensor patch_pixels(const at::Tensor& images, int64_t patch, PixelOrder order) {
  expect_shape(images, {kAny, kAny, kAny, images.size(-2)}, "images to cut into patches");
  const int64_t batch = images.size(0), channels = images.size(1), side = images.size(2);
  check(patch > 0 && side % patch == 0, "pixels: an image side of ", side, " is not a multiple of the patch side ",
        patch);
  const int64_t grid = side / patch;
  const at::Tensor cells = images.reshape({batch, channels, grid, patch, grid, patch});  // [B,I,G,P,G,P]
  const at::Tensor ordered =
      order == PixelOrder::kRowColumnColor ? cells.permute({0, 2, 4, 3, 5, 1}) : cells.permute({0, 2, 4, 1, 3, 5});
  return ordered.reshape({batch, grid * grid, channels * patch * patch});
}

at::Tensor standardize_colors(const at::Tensor& patches, PixelOrder order, double eps) {
  expect_shape(patches, {kAny, kAny, kAny}, "pixels of patches");
  invariant(patches.size(2) % 3 == 0, "pixels: a token of ", patches.size(2), " numbers does not hold three colours");
  const bool color_last = order == PixelOrder::kRowColumnColor;
  const at::Tensor x = patches.unflatten(2, color_last ? at::IntArrayRef{-1, 3} : at::IntArrayRef{3, -1});
  const auto [variance, mean] = at::var_mean(x, {color_last ? 2 : 3}, /*correction=*/0, /*keepdim=*/true);
  return ((x - mean) / at::sqrt(variance + eps)).flatten(2);
}

}  // namespace lacuna
