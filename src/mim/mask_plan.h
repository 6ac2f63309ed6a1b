#pragma once
// The outcome of masking: which rows of a batch are hidden, and picking tokens by it. Tokens are picked first and
// computed on afterwards: no head and no loss ever sees a mask.

#include <cstdint>
#include <span>
#include <vector>

#include "nn/torch.h"

namespace lacuna {

// The split of a batch's patches. Rows are flat indices into [B*N], samples in order, ascending within a sample.
struct MaskPlan {
  int64_t batch = 0;
  int64_t patches = 0;          // N
  at::Tensor visible;           // [sum V_b] int64
  at::Tensor masked;            // [sum M_b] int64
  std::vector<int64_t> counts;  // M_b, hidden patches of each sample; V_b = N - M_b

  bool even() const;  // every sample hides the same number
  // Per sample; only an even plan has these.
  int64_t visible_count() const;
  int64_t masked_count() const;

  // Rows of x [B,N,X]: [B,V,X] and [B,M,X] when even, else those of all samples one after the other, [1,sum,X].
  at::Tensor pick_visible(const at::Tensor& x) const;
  at::Tensor pick_masked(const at::Tensor& x) const;

  // Inverse of picking: both kinds of rows, in either layout, back in raster order, [B,N,X].
  at::Tensor restore(const at::Tensor& visible_rows, const at::Tensor& masked_rows) const;

  // 1 / (B M_b) for each masked row: with it, a weighted sum is the mean over images of each image's mean over its
  // hidden patches. An image that hides none contributes 0. [sum M_b]
  at::Tensor per_image_weights(const at::TensorOptions& options) const;
};

// From one mask [N] per sample (1 = masked).
MaskPlan plan_from_masks(std::span<const std::vector<uint8_t>> masks, at::Device device);

// From an order [B,N] of each sample's patches, int64: the first `keep` stay visible. With the ascending argsort of
// uniform noise as order this is MAE's random masking. Stays on the order's device, without a transfer.
MaskPlan plan_from_order(const at::Tensor& order, int64_t keep);

}  // namespace lacuna
