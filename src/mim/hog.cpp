#include "mim/hog.h"

#include <numbers>
#include <vector>

#include "base/error.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

constexpr double kLengthFloor = 1e-12;  // a cell without gradients stays zero instead of becoming NaN

// Neighbours before minus after along one axis: T+2 -> T.
at::Tensor difference(const at::Tensor& x, int64_t dim) {
  const int64_t size = x.size(dim) - 2;
  return x.narrow(dim, 0, size) - x.narrow(dim, 2, size);
}

// Weights 1, 2, 1 along one axis: T+2 -> T.
at::Tensor smooth(const at::Tensor& x, int64_t dim) {
  const int64_t size = x.size(dim) - 2;
  return (x.narrow(dim, 0, size) + x.narrow(dim, 2, size)).add_(x.narrow(dim, 1, size), 2);
}

at::Tensor gaussian_window(int64_t side, const at::TensorOptions& options) {  // [side,side], sums to 1
  const double sigma = static_cast<double>(side) / 2;
  const at::Tensor offset = at::arange(side, at::kDouble) - static_cast<double>(side - 1) / 2;
  const at::Tensor line = at::exp(-0.5 * (offset / sigma).square());
  const at::Tensor window = at::outer(line, line);
  return (window / window.sum()).to(options);
}

at::Tensor bin_of(const at::Tensor& gx, const at::Tensor& gy, int64_t bins) {  // 0 .. bins - 1, as gx's dtype
  const at::Tensor turn = at::atan2(gx, gy).mul_(static_cast<double>(bins) / std::numbers::pi).floor_();
  // Half a turn is bin 0 again. Said outright for gx = 0, where the product may round to just below `bins`.
  return turn.remainder_(bins).masked_fill_(gx == 0, 0);
}

}  // namespace

at::Tensor hog(const at::Tensor& images, int64_t bins, int64_t cell, int64_t window) {
  expect_shape(images, {kAny, 3, kAny, images.size(-2)}, "images to take gradients of");
  const int64_t side = images.size(2);
  check(bins > 0 && cell > 0 && side % cell == 0 && side > 1, "hog: an image side of ", side,
        " is not a multiple of the cell side ", cell);
  check(window >= 0 && (window == 0 || side % window == 0), "hog: an image side of ", side,
        " is not a multiple of the window side ", window);
  const at::Tensor padded =
      at::reflection_pad2d(images.scalar_type() == at::kDouble ? images : images.to(at::kFloat), {1, 1, 1, 1});
  const at::Tensor gx = smooth(difference(padded, 3), 2), gy = smooth(difference(padded, 2), 3);  // [B,3,S,S]
  const at::Tensor bin = bin_of(gx, gy, bins);
  at::Tensor magnitude = at::sqrt(gx.square().add_(gy.square()));
  if (window > 0) magnitude *= gaussian_window(window, magnitude.options()).repeat({side / window, side / window});

  const at::Tensor zero = at::zeros({}, magnitude.options());
  std::vector<at::Tensor> votes;
  for (int64_t i = 0; i < bins; ++i) {  // one bin at a time: no nine-fold image in memory, and no order of additions
    const at::Tensor voting = at::where(bin == i, magnitude, zero);
    votes.push_back(at::avg_pool2d(voting, cell, cell, 0, false, true, /*divisor_override=*/1));
  }
  const at::Tensor histogram = at::stack(votes, 2);  // [B,3,bins,S/cell,S/cell]
  return histogram / at::linalg_vector_norm(histogram, 2, 2, true).clamp_min_(kLengthFloor);
}

at::Tensor hog_tokens(const at::Tensor& hog, int64_t patch, int64_t cell) {
  expect_shape(hog, {kAny, 3, kAny, kAny, hog.size(-2)}, "histograms to cut into tokens");
  check(cell > 0 && patch % cell == 0, "hog: the patch side ", patch, " is not a multiple of the cell side ", cell);
  const int64_t per_side = patch / cell, cells = hog.size(3);
  check(per_side > 0 && cells % per_side == 0, "hog: ", cells, " cells per side cannot be shared by patches of ",
        per_side);
  const int64_t grid = cells / per_side;
  return hog.reshape({hog.size(0), 3, hog.size(2), grid, per_side, grid, per_side})
      .permute({0, 3, 5, 1, 2, 4, 6})
      .reshape({hog.size(0), grid * grid, 3 * hog.size(2) * per_side * per_side});
}

}  // namespace lacuna
