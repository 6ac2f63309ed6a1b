#pragma once
// Rotary positions in two dimensions, as EVA-02 has them (Fang et al., 2023): each pair of neighbouring channels of a
// query or key is turned by an angle that grows with the patch's row (first half of a head's pairs) or column (second
// half). Attention then depends on offsets between patches. Non-goals: mixed and half-wise layouts.

#include "nn/torch.h"

namespace lacuna {

// [2, patches, d]: sines and cosines of a head of width d (divisible by 4), float32. Pair k of d/4 turns by
// t 10000^(-k / (d/4)) at place t = index / grid * reference, so that every grid covers the reference grid's angles.
at::Tensor rotary_table(int64_t grid, int64_t reference, int64_t head_width);

// The table's rows for tokens that are `before` unturned ones, the patches named by the flat rows [B*T] of [B*N] (all
// where undefined) and `after` unturned ones: [2, B or 1, before+T+after, d].
at::Tensor rotation_of(const at::Tensor& table, int64_t batch, const at::Tensor& rows, int64_t before, int64_t after);

// x [B,T,D] with each of its heads turned by `rotation` [2, B or 1, T, D/H]; in float32 at least, rounded to x's dtype.
at::Tensor rotated(const at::Tensor& x, int64_t heads, const at::Tensor& rotation);

}  // namespace lacuna
