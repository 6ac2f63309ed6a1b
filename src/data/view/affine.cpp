#include "data/view/affine.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "base/error.h"

namespace lacuna {
namespace {

double between(const std::array<double, 2>& v, double t) { return v[0] + (v[1] - v[0]) * t; }

double between(const std::array<double, 4>& v, double t) {
  const double p1 = v[2] - v[0], p2 = 2 * (v[0] - v[1]) + v[2] - v[3], p3 = -v[0] + v[1] - v[2] + v[3];
  return v[1] + t * (p1 + t * (p2 + t * p3));
}

// Interpolates with N x N taps at (x, y), given as offsets of pixel centres. Columns are clamped to the image, and so
// is the first row; a later row outside repeats the value of the row before it.
template <std::size_t N>
void interpolate(const Image& image, double x, double y, std::uint8_t* rgb) {
  const double left = std::floor(x), top = std::floor(y);
  constexpr int kReach = static_cast<int>(N) / 2 - 1;
  const int first_column = static_cast<int>(left) - kReach, first_row = static_cast<int>(top) - kReach;
  std::array<std::ptrdiff_t, N> columns;
  for (int i = 0; i < static_cast<int>(N); ++i) {
    columns[static_cast<std::size_t>(i)] = std::ptrdiff_t{3} * std::clamp(first_column + i, 0, image.width - 1);
  }
  for (std::ptrdiff_t c = 0; c < 3; ++c) {
    std::array<double, N> rows, taps;
    for (int j = 0; j < static_cast<int>(N); ++j) {
      const auto at = static_cast<std::size_t>(j);
      const int row = first_row + j;
      if (j > 0 && (row < 0 || row >= image.height)) {
        rows[at] = rows[at - 1];
        continue;
      }
      const std::uint8_t* line = image.row(std::clamp(row, 0, image.height - 1)) + c;
      for (std::size_t i = 0; i < N; ++i) taps[i] = line[columns[i]];
      rows[at] = between(taps, x - left);
    }
    rgb[c] = static_cast<std::uint8_t>(std::clamp(between(rows, y - top), 0.0, 255.0));
  }
}

// Python's round(value, 15), good enough for cosines and sines: the 16th digit is beyond a double's precision there.
double rounded(double value) { return std::nearbyint(value * 1e15) / 1e15; }

}  // namespace

Image transformed(const Image& image, const AffineMatrix& m, Kernel kernel, const FillColor& fill) {
  invariant(kernel == Kernel::kBilinear || kernel == Kernel::kBicubic, "transformed: bilinear or bicubic");
  Image out(image.width, image.height);
  for (int row = 0; row < out.height; ++row) {
    std::uint8_t* target = out.row(row);
    for (int column = 0; column < out.width; ++column, target += 3) {
      const double u = column + 0.5, v = row + 0.5;
      const double x = m.a * u + m.b * v + m.c, y = m.d * u + m.e * v + m.f;
      if (!(x >= 0.0 && x < image.width && y >= 0.0 && y < image.height)) {
        std::copy_n(fill.begin(), 3, target);
      } else if (kernel == Kernel::kBilinear) {
        interpolate<2>(image, x - 0.5, y - 0.5, target);
      } else {
        interpolate<4>(image, x - 0.5, y - 0.5, target);
      }
    }
  }
  return out;
}

AffineMatrix shear_x(double factor) { return {.b = factor}; }

AffineMatrix shear_y(double factor) { return {.d = factor}; }

AffineMatrix shift(double x, double y) { return {.c = x, .f = y}; }

Image rotated(const Image& image, double degrees, Kernel kernel, const FillColor& fill) {
  invariant(std::abs(degrees) < 90.0, "rotated: ", degrees, " degrees");
  if (degrees == 0.0) return image;
  const double turn = -((degrees < 0.0 ? degrees + 360.0 : degrees) * (std::numbers::pi / 180.0));
  const double cosine = rounded(std::cos(turn)), sine = rounded(std::sin(turn));
  const double x = image.width / 2.0, y = image.height / 2.0;
  AffineMatrix matrix{.a = cosine, .b = sine, .d = -sine, .e = cosine};
  matrix.c = cosine * -x + sine * -y + x;
  matrix.f = -sine * -x + cosine * -y + y;
  return transformed(image, matrix, kernel, fill);
}

}  // namespace lacuna
