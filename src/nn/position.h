#pragma once
// Position tables of a square grid of patches.

#include "nn/torch.h"

namespace lacuna {

// Fixed 2-D sine-cosine table [1, 1 + G*G, D] in float32, class row zero, MoCo v3's layout (cae.md section 1.2):
// row r = p div G and column c = p mod G give [sin(r w) | cos(r w) | sin(c w) | cos(c w)], w_k = 10000^(-k / (D/4)).
// MAE's table puts the column first and is not interchangeable. D must be divisible by 4.
at::Tensor sin_cos_positions(int64_t grid, int64_t width);

}  // namespace lacuna
