#include "nn/position.h"

#include <cmath>

#include "base/error.h"

namespace lacuna {

at::Tensor sin_cos_positions(int64_t grid, int64_t width, AxisOrder order) {
  check(width % 4 == 0, "sin-cos positions need a width divisible by 4, found ", width);
  const int64_t quarter = width / 4;
  // Each in the precision of its reference, whose bits parity needs: MAE makes its table in float64, CAE in float32.
  const at::ScalarType dtype = order == AxisOrder::kColumnFirst ? at::kDouble : at::kFloat;
  const at::Tensor exponent = at::arange(quarter, dtype) / static_cast<double>(quarter);
  const at::Tensor frequency = 1.0 / at::pow(at::scalar_tensor(10000.0, dtype), exponent);  // [D/4]
  const at::Tensor angle = at::arange(grid, dtype).unsqueeze(1) * frequency.unsqueeze(0);   // [G,D/4]
  const at::Tensor wave = at::cat({at::sin(angle), at::cos(angle)}, 1).to(at::kFloat);      // [G,D/2]
  const at::Tensor rows = wave.unsqueeze(1).expand({grid, grid, 2 * quarter});
  const at::Tensor columns = wave.unsqueeze(0).expand({grid, grid, 2 * quarter});
  const at::Tensor halves = order == AxisOrder::kRowFirst ? at::cat({rows, columns}, 2) : at::cat({columns, rows}, 2);
  const at::Tensor patches = halves.reshape({grid * grid, width});
  return at::cat({at::zeros({1, width}), patches}).unsqueeze(0);
}

namespace {

// image [1,D,G,G] -> [1,D,rows,columns]
at::Tensor interpolated(const at::Tensor& image, int64_t rows, int64_t columns, PositionResize how) {
  const auto factor = [&](int64_t side) -> std::optional<double> {
    if (how != PositionResize::kByScale) return std::nullopt;
    return (static_cast<double>(side) + 0.1) / static_cast<double>(image.size(2));
  };
  switch (how) {
    case PositionResize::kAntialiased:
      return at::_upsample_bicubic2d_aa(image, {rows, columns}, /*align_corners=*/false);
    case PositionResize::kBilinear:
      return at::_upsample_bilinear2d_aa(image, {rows, columns}, /*align_corners=*/false);
    case PositionResize::kBySize:
    case PositionResize::kByScale:
      break;
  }
  return at::upsample_bicubic2d(image, {rows, columns}, /*align_corners=*/false, factor(rows), factor(columns));
}

}  // namespace

at::Tensor resize_positions(const at::Tensor& table, int64_t rows, int64_t columns, PositionResize how,
                            int64_t class_tokens) {
  const int64_t width = table.size(2), patches = table.size(1) - class_tokens;
  const int64_t old = std::llround(std::sqrt(static_cast<double>(patches)));
  invariant(old * old == patches, "a position table of ", table.size(1), " rows is no square grid");
  if (old == rows && old == columns) return table;
  const at::Tensor image = table.slice(1, class_tokens).view({1, old, old, width}).permute({0, 3, 1, 2});
  const at::Tensor resized = interpolated(image, rows, columns, how);
  const at::Tensor patch_rows = resized.permute({0, 2, 3, 1}).reshape({1, rows * columns, width});
  return at::cat({table.slice(1, 0, class_tokens), patch_rows}, 1);
}

at::Tensor resize_positions(const at::Tensor& table, int64_t grid, PositionResize how) {
  return resize_positions(table, grid, grid, how);
}

}  // namespace lacuna
