#pragma once
// Position tables of a square grid of patches.

#include "nn/torch.h"

namespace lacuna {

// CAE's and MoCo v3's table encodes the row in the first half of the channels, MAE's the column. They are not
// interchangeable.
enum class AxisOrder { kRowFirst, kColumnFirst };

// Fixed 2-D sine-cosine table [1, 1 + G*G, D] in float32, class row zero (cae.md section 1.2): row r = p div G and
// column c = p mod G give [sin(r w) | cos(r w) | sin(c w) | cos(c w)], w_k = 10000^(-k / (D/4)), or the same with r and
// c exchanged. D must be divisible by 4.
at::Tensor sin_cos_positions(int64_t grid, int64_t width, AxisOrder order = AxisOrder::kRowFirst);

// How a learned table is read at another grid: coordinates scaled by the ratio of the grids (as transformers), or by
// (G' + 0.1) / G as DINO and BEiT-2 do (maskdistill.md section 1.3), both bicubic (a = -0.75) without antialiasing; or
// antialiased bicubic (a = -0.5), as timm and OpenCLIP do; or antialiased and bilinear, as timm can be asked to.
enum class PositionResize { kBySize, kByScale, kAntialiased, kBilinear };

// [1,C+G*G,D] -> [1,C+rows*columns,D]; the first C rows, one for a class token or none, are copied.
at::Tensor resize_positions(const at::Tensor& table, int64_t rows, int64_t columns, PositionResize how,
                            int64_t class_tokens = 1);
// The same to a square grid.
at::Tensor resize_positions(const at::Tensor& table, int64_t grid, PositionResize how);

}  // namespace lacuna
