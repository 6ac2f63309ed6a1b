#include "nn/relative_bias.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lacuna {
namespace {

// The number of the interval [x_i, x_i+1] that holds t; the outermost ones for places beyond the ends.
int64_t interval(const std::vector<double>& x, double t) {
  const auto above = std::upper_bound(x.begin(), x.end(), t) - x.begin();
  return std::clamp<int64_t>(above - 1, 0, static_cast<int64_t>(x.size()) - 2);
}

// [n,n]: values at the knots x -> second derivatives of the interpolating spline there. Inner rows are the continuity
// of the first derivative, the outer two that of the third across the second knot from each end (not-a-knot).
at::Tensor spline_moments(const std::vector<double>& x) {
  const auto n = static_cast<int64_t>(x.size());
  const at::Tensor left = at::zeros({n, n}, at::kDouble), right = at::zeros({n, n}, at::kDouble);
  auto a = left.accessor<double, 2>(), b = right.accessor<double, 2>();
  const auto step = [&](int64_t i) { return x[static_cast<size_t>(i + 1)] - x[static_cast<size_t>(i)]; };
  for (int64_t i = 1; i + 1 < n; ++i) {
    const double before = step(i - 1), after = step(i);
    a[i][i - 1] = before;
    a[i][i] = 2 * (before + after);
    a[i][i + 1] = after;
    b[i][i - 1] = 6 / before;
    b[i][i] = -6 / before - 6 / after;
    b[i][i + 1] = 6 / after;
  }
  const auto not_a_knot = [&](int64_t row, int64_t i) {  // intervals i and i+1 are one cubic
    a[row][i] = step(i + 1);
    a[row][i + 1] = -(step(i) + step(i + 1));
    a[row][i + 2] = step(i);
  };
  not_a_knot(0, 0);
  not_a_knot(n - 1, n - 3);
  return at::linalg_solve(left, right);
}

// [m,n]: values at the knots x -> values at the places t, which lie within the knots.
at::Tensor interpolation(const std::vector<double>& x, const std::vector<double>& t, BiasResize how) {
  const auto n = static_cast<int64_t>(x.size()), m = static_cast<int64_t>(t.size());
  const at::Tensor value = at::zeros({m, n}, at::kDouble), curve = at::zeros({m, n}, at::kDouble);
  auto v = value.accessor<double, 2>(), c = curve.accessor<double, 2>();
  for (int64_t row = 0; row < m; ++row) {
    const double place = t[static_cast<size_t>(row)];
    const int64_t i = interval(x, place);
    const double from = x[static_cast<size_t>(i)], h = x[static_cast<size_t>(i + 1)] - from;
    const double right = (place - from) / h, left = 1 - right;
    v[row][i] = left;
    v[row][i + 1] = right;
    c[row][i] = (left * left * left - left) * h * h / 6;
    c[row][i + 1] = (right * right * right - right) * h * h / 6;
  }
  return how == BiasResize::kLinear ? value : value + at::matmul(curve, spline_moments(x));
}

// Side of the grid whose table has this many rows.
int64_t grid_of_table(const at::Tensor& table) {
  const int64_t side = std::llround(std::sqrt(static_cast<double>(table.size(0) - 3)));
  invariant(side % 2 == 1 && side * side + 3 == table.size(0), "a relative position table of ", table.size(0),
            " rows belongs to no square grid");
  return (side + 1) / 2;
}

}  // namespace

at::Tensor relative_index(int64_t rows, int64_t columns) {
  const int64_t patches = rows * columns, offsets = (2 * rows - 1) * (2 * columns - 1);
  const at::Tensor place = at::arange(patches, at::kLong);
  const at::Tensor row = at::floor_divide(place, columns), column = place.remainder(columns);
  const at::Tensor down = row.unsqueeze(1) - row.unsqueeze(0) + (rows - 1);
  const at::Tensor right = column.unsqueeze(1) - column.unsqueeze(0) + (columns - 1);
  at::Tensor index = at::empty({1 + patches, 1 + patches}, at::kLong);
  index.slice(0, 1).slice(1, 1).copy_(down * (2 * columns - 1) + right);
  index[0].fill_(offsets);
  index.select(1, 0).fill_(offsets + 1);
  index[0][0].fill_(offsets + 2);
  return index;
}

std::vector<double> bias_source_coordinates(int64_t source, int64_t target) {
  const int64_t reach = source - 1;  // the largest offset
  const auto sum = [reach](double q) { return (std::pow(q, static_cast<double>(reach)) - 1) / (q - 1); };
  double low = 1.01, high = 1.5, q = low;
  while (high - low > 1e-6) {
    q = (low + high) / 2;
    (sum(q) > static_cast<double>(target - 1) ? high : low) = q;
  }
  std::vector<double> places(static_cast<size_t>(2 * reach + 1), 0.0);
  double place = 0, step = 1;
  for (int64_t i = 1; i <= reach; ++i, step *= q) {
    place += step;
    places[static_cast<size_t>(reach + i)] = place;
    places[static_cast<size_t>(reach - i)] = -place;
  }
  return places;
}

at::Tensor resize_relative_bias(const at::Tensor& table, int64_t grid, BiasResize how) {
  const int64_t source = grid_of_table(table), old = 2 * source - 1, side = 2 * grid - 1, heads = table.size(1);
  if (source == grid) return table;
  const at::Tensor offsets = table.slice(0, 0, old * old).t().reshape({1, heads, old, old});
  if (how == BiasResize::kBicubic || how == BiasResize::kBilinear) {
    const at::Tensor image = how == BiasResize::kBicubic
                                 ? at::upsample_bicubic2d(offsets, {side, side}, /*align_corners=*/false)
                                 : at::upsample_bilinear2d(offsets, {side, side}, /*align_corners=*/false);
    return at::cat({image.reshape({heads, side * side}).t(), table.slice(0, old * old)});
  }
  check(source > 2, "a relative position table of a ", source, " x ", source, " grid is too small to be resized");
  const std::vector<double> places = bias_source_coordinates(source, grid);
  std::vector<double> wanted;
  for (int64_t offset = 1 - grid; offset < grid; ++offset)
    wanted.push_back(std::clamp(static_cast<double>(offset), places.front(), places.back()));
  const at::Tensor weights = interpolation(places, wanted, how).to(table.device());
  const at::Tensor image = offsets[0].to(at::kDouble);
  const at::Tensor resized = at::matmul(at::matmul(weights, image), weights.t());  // [H,side,side]
  return at::cat({resized.reshape({heads, side * side}).t().to(table.scalar_type()), table.slice(0, old * old)});
}

RelativeBiasImpl::RelativeBiasImpl(int64_t grid, int64_t heads)
    : patches_(grid * grid), heads_(heads), index_(relative_index(grid, grid)) {
  relative_position_bias_table =
      register_parameter("relative_position_bias_table", torch::empty({(2 * grid - 1) * (2 * grid - 1) + 3, heads}));
}

at::Tensor RelativeBiasImpl::forward(int64_t batch, const at::Tensor& rows) {
  if (index_.device() != relative_position_bias_table.device())
    index_ = index_.to(relative_position_bias_table.device());
  at::Tensor index = index_.unsqueeze(0);  // [1,1+N,1+N]
  if (rows.defined()) {
    const at::Tensor patch = rows.view({batch, -1}).remainder(patches_) + 1;               // [B,T]
    const at::Tensor token = at::cat({at::zeros({batch, 1}, patch.options()), patch}, 1);  // [B,1+T]
    index = index_.index({token.unsqueeze(2), token.unsqueeze(1)});                        // [B,1+T,1+T]
  }
  const at::Tensor bias = relative_position_bias_table.index_select(0, index.flatten());
  return bias.view({index.size(0), index.size(1), index.size(2), heads_}).permute({0, 3, 1, 2});
}

}  // namespace lacuna
