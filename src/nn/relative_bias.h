#pragma once
// BEiT's relative position bias: a learned number per head and per offset between two patches, plus three for pairs
// with the class token (maskdistill.md section 5.3).

#include <vector>

#include "nn/torch.h"

namespace lacuna {

// [(1+N),(1+N)] int64 rows of the table for a grid of `rows` x `columns` patches, class token first: offsets of query
// minus key in raster order, then class to patch, patch to class, class to class.
at::Tensor relative_index(int64_t rows, int64_t columns);

// How a table is read at another grid. kSpline is BEiT's: the offsets of the old grid stand at 0, 1, 1+q, 1+q+q^2, ...
// (and mirrored), where q in [1.01, 1.5] makes the last one meet the new grid's; between them runs a not-a-knot bicubic
// spline, beyond them its edge (maskdistill.md section 5.4). kLinear is timm's: linear between the same places.
// kBicubic is timm's simple function and kBilinear transformers': both on the uniform grid of offsets.
enum class BiasResize { kSpline, kLinear, kBicubic, kBilinear };

// Places of the 2S-1 offsets of a grid of side `source` among the integer offsets of a grid of side `target`.
std::vector<double> bias_source_coordinates(int64_t source, int64_t target);

// [(2S-1)^2 + 3, H] -> [(2G-1)^2 + 3, H] for a grid of side G; the three rows of the class token are copied. The first
// two are computed in float64 and need grids of side 3 and more, the others in the table's dtype.
at::Tensor resize_relative_bias(const at::Tensor& table, int64_t grid, BiasResize how = BiasResize::kSpline);

class RelativeBiasImpl : public torch::nn::Module {
 public:
  RelativeBiasImpl(int64_t grid, int64_t heads);

  // Bias of the whole grid, [1,H,1+N,1+N], or of the class token and the patches named by the flat rows [B*T] of [B*N],
  // [B,H,1+T,1+T].
  at::Tensor forward(int64_t batch, const at::Tensor& rows = {});

  at::Tensor relative_position_bias_table;  // [(2G-1)^2 + 3, H]

 private:
  int64_t patches_, heads_;
  at::Tensor index_;  // not a buffer: it is never cast, saved or averaged
};
TORCH_MODULE(RelativeBias);

}  // namespace lacuna
