#pragma once
// Histograms of oriented gradients as MaskFeat uses them for targets (maskdistill.md section 2.3).
//
// Per colour: gx by the kernel with rows (1,0,-1), (2,0,-2), (1,0,-1) and gy by its transpose, the border reflected; a
// pixel votes with its magnitude for bin floor(atan2(gx, gy) / pi * bins) mod bins; votes are summed over cells and the
// bins of each colour and cell get unit length.
//
// Feed pixels as integers in 0..255 (scale and offset of a colour cancel): a gradient component that is exactly zero
// lies on the edge between the first and the last bin, and on normalised pixels rounding decides which side it falls
// to. Differences are taken before they are summed, so flat neighbourhoods give exact zeros in any case.

#include "nn/torch.h"

namespace lacuna {

// images [B,3,S,S] -> [B,3,bins,S/cell,S/cell], in float32 or wider. `window` > 0 weighs magnitudes by a Gaussian of
// that side (standard deviation half of it, sum 1) tiled over the image: mmpretrain's variant has 16, the official code
// none. Throws Error unless cell and window divide S.
at::Tensor hog(const at::Tensor& images, int64_t bins = 9, int64_t cell = 8, int64_t window = 0);

// [B,3,bins,S/cell,S/cell] -> [B,N,K], one token per patch, ordered (colour, bin, cell row, cell column):
// K = 3 bins (patch/cell)^2. Throws Error unless cell divides the patch side.
at::Tensor hog_tokens(const at::Tensor& hog, int64_t patch, int64_t cell);

}  // namespace lacuna
