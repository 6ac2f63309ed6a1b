#include "io/image/resize_taps.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <stdexcept>

namespace lacuna {
namespace {

using std::numbers::pi;

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * pi) / (x * pi); }

// Each kernel is a weight at distance x and the radius outside which it is zero.

struct BoxKernel {
  static constexpr double kRadius = 0.5;
  double operator()(double x) const { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
};

struct Bilinear {
  static constexpr double kRadius = 1.0;
  double operator()(double x) const { return std::max(1.0 - std::abs(x), 0.0); }
};

struct Hamming {
  static constexpr double kRadius = 1.0;
  double operator()(double x) const {
    const double distance = std::abs(x);
    if (distance >= 1.0) return 0.0;
    return distance == 0.0 ? 1.0 : sinc(distance) * (0.54f + 0.46f * std::cos(distance * pi));
  }
};

// Keys, a = -0.5. Both branches are computed, so that the compiler can take several taps at once.
struct Bicubic {
  static constexpr double kRadius = 2.0;
  double operator()(double x) const {
    constexpr double a = -0.5;
    const double d = std::abs(x);
    const double inner = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    const double outer = (((d - 5.0) * d + 8.0) * d - 4.0) * a;
    return d < 1.0 ? inner : d < 2.0 ? outer : 0.0;
  }
};

struct Lanczos {
  static constexpr double kRadius = 3.0;
  double operator()(double x) const { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }
};

int to_fixed_point(double weight) {
  const double scaled = weight * (1 << kWeightBits);
  return static_cast<int>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

int Taps::first_in() const { return *std::min_element(first.begin(), first.end()); }

int Taps::end_in() const {
  int end = 0;
  for (std::size_t o = 0; o < first.size(); ++o) end = std::max(end, first[o] + count[o]);
  return end;
}

template <class Weight>
void Taps::fill(const Axis& axis, const Weight& weight) {
  const double scale = static_cast<double>(axis.high - axis.low) / axis.out;
  const double stretch = std::max(scale, 1.0);
  const double support = Weight::kRadius * stretch;
  const double shrink = 1.0 / stretch;
  stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  const auto outputs = static_cast<std::size_t>(axis.outputs());
  first.resize(outputs);
  count.resize(outputs);
  weights.resize(outputs * static_cast<std::size_t>(stride));
  exact_.resize(static_cast<std::size_t>(stride));
  double* exact = exact_.data();

  for (std::size_t i = 0; i < outputs; ++i) {
    const double centre = axis.low + (axis.first_out + static_cast<int>(i) + 0.5) * scale;
    const int begin = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int taps = std::min(static_cast<int>(centre + support + 0.5), axis.in) - begin;
    for (int t = 0; t < taps; ++t) exact[t] = weight((t + begin - centre + 0.5) * shrink);
    double sum = 0.0;
    for (int t = 0; t < taps; ++t) sum += exact[t];
    if (sum == 0.0) sum = 1.0;
    int* row = weights.data() + i * static_cast<std::size_t>(stride);
    for (int t = 0; t < taps; ++t) row[t] = to_fixed_point(exact[t] / sum);
    if (axis.mirrored) std::reverse(row, row + taps);
    first[i] = axis.mirrored ? axis.in - begin - taps : begin;
    count[i] = taps;
  }
}

void Taps::make(const Axis& axis, Kernel kernel) {
  switch (kernel) {
    case Kernel::kBox:
      return fill(axis, BoxKernel{});
    case Kernel::kBilinear:
      return fill(axis, Bilinear{});
    case Kernel::kHamming:
      return fill(axis, Hamming{});
    case Kernel::kBicubic:
      return fill(axis, Bicubic{});
    case Kernel::kLanczos:
      return fill(axis, Lanczos{});
  }
  throw std::logic_error("unknown resize kernel");
}

}  // namespace lacuna
