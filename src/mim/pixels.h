#pragma once
// Pixels as targets: a patch is one token of I P P numbers.

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

// Which axis of a patch comes first in its token; the last one varies fastest.
enum class PixelOrder { kRowColumnColor, kColorRowColumn };
inline constexpr Named<PixelOrder> kPixelOrders[] = {
    {PixelOrder::kRowColumnColor, "row_column_color", "colours vary fastest"},
    {PixelOrder::kColorRowColumn, "color_row_column", "that of a convolution over patches"}};

// images [B,I,S,S] -> [B,N,IPP], patches in raster order, dtype kept. Throws Error unless P divides S.
at::Tensor patch_pixels(const at::Tensor& images, int64_t patch, PixelOrder order);

// Zero mean and unit (biased) variance per patch and colour, as BootMAE does; [B,N,3PP] -> the same. Standardising per
// patch over all colours (MAE) is a layer_norm of the token.
at::Tensor standardize_colors(const at::Tensor& patches, PixelOrder order, double eps = 1e-5);

}  // namespace lacuna
