#include "io/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <stdexcept>

#include "base/error.h"

// The inner loop is compiled twice and chosen when the program starts: 32-bit products are slow in baseline x86-64.
// The choice runs before a sanitizer is set up, so sanitized builds go without.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LACUNA_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LACUNA_SANITIZED
#endif
#if defined(__x86_64__) && defined(__linux__) && !defined(LACUNA_SANITIZED)
#define LACUNA_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define LACUNA_WIDE
#endif

namespace lacuna {
namespace {

using std::numbers::pi;

constexpr int kWeightBits = 22;
constexpr int kBlockRows = 16;         // source rows that share one horizontal pass
constexpr int kLane = 3 * kBlockRows;  // bytes that the inner loop makes at once
constexpr std::size_t kLaneBytes = kLane;

// --- Kernels: weight at distance x, and the radius outside which it is zero.

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * pi) / (x * pi); }

double box_weight(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear_weight(double x) { return std::max(1.0 - std::abs(x), 0.0); }

double hamming_weight(double x) {
  const double distance = std::abs(x);
  if (distance >= 1.0) return 0.0;
  return distance == 0.0 ? 1.0 : sinc(distance) * (0.54f + 0.46f * std::cos(distance * pi));
}

// Keys, a = -0.5.
double bicubic_weight(double x) {
  constexpr double a = -0.5;
  const double d = std::abs(x);
  if (d < 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
  if (d < 2.0) return (((d - 5.0) * d + 8.0) * d - 4.0) * a;
  return 0.0;
}

double lanczos_weight(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

struct KernelShape {
  double (*weight)(double);
  double radius;
};

KernelShape shape_of(Kernel kernel) {
  switch (kernel) {
    case Kernel::kBox:
      return {box_weight, 0.5};
    case Kernel::kBilinear:
      return {bilinear_weight, 1.0};
    case Kernel::kHamming:
      return {hamming_weight, 1.0};
    case Kernel::kBicubic:
      return {bicubic_weight, 2.0};
    case Kernel::kLanczos:
      return {lanczos_weight, 3.0};
  }
  throw std::logic_error("unknown resize kernel");
}

// --- Taps: for each output coordinate, which source coordinates count and how much.

struct Taps {
  int stride = 0;            // weights kept per output
  std::vector<int> first;    // first source coordinate
  std::vector<int> count;    // number of source coordinates
  std::vector<int> weights;  // [out][stride], fixed point with kWeightBits fraction bits

  const int* of(int out) const { return weights.data() + static_cast<std::ptrdiff_t>(out) * stride; }
  int outputs() const { return static_cast<int>(first.size()); }
};

int to_fixed_point(double weight) {
  const double scaled = weight * (1 << kWeightBits);
  return static_cast<int>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

// One axis of a resize: source pixels low .. high of `in` become `out` pixels, of which first_out .. end_out are
// wanted.
struct Axis {
  int in;
  float low, high;
  int out;
  int first_out, end_out;

  bool keeps_size() const { return in == out && low == 0.0f && high == static_cast<float>(in); }
};

Taps make_taps(const Axis& axis, Kernel kernel) {
  const KernelShape shape = shape_of(kernel);
  const double scale = static_cast<double>(axis.high - axis.low) / axis.out;
  const double stretch = std::max(scale, 1.0);
  const double support = shape.radius * stretch;
  const double shrink = 1.0 / stretch;

  Taps taps;
  taps.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  const auto stride = static_cast<std::size_t>(taps.stride);
  taps.weights.resize(static_cast<std::size_t>(axis.end_out - axis.first_out) * stride);
  std::vector<double> exact(stride);
  int* weights = taps.weights.data();
  for (int o = axis.first_out; o < axis.end_out; ++o, weights += stride) {
    const double centre = axis.low + (o + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int count = std::min(static_cast<int>(centre + support + 0.5), axis.in) - first;
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      exact[static_cast<std::size_t>(t)] = shape.weight((t + first - centre + 0.5) * shrink);
      sum += exact[static_cast<std::size_t>(t)];
    }
    for (int t = 0; t < count; ++t) {
      const double weight = exact[static_cast<std::size_t>(t)];
      weights[t] = to_fixed_point(sum != 0.0 ? weight / sum : weight);
    }
    taps.first.push_back(first);
    taps.count.push_back(count);
  }
  return taps;
}

// --- Passes.

// kLane weighted sums: out[i] = clamp(sum over t of weights[t] * in[t * stride + i]), rounded.
LACUNA_WIDE void weigh_lane(const std::uint8_t* in, std::size_t stride, const int* weights, int count,
                            std::uint8_t* out) {
  int sums[kLane];
  for (int& sum : sums) sum = 1 << (kWeightBits - 1);
  for (int t = 0; t < count; ++t, in += stride) {
    const int weight = weights[t];
    for (int i = 0; i < kLane; ++i) sums[i] += weight * in[i];
  }
  for (int i = 0; i < kLane; ++i) out[i] = static_cast<std::uint8_t>(std::clamp(sums[i] >> kWeightBits, 0, 255));
}

// Pixels read in place: `stride` bytes from row to row.
struct View {
  const std::uint8_t* data;
  std::size_t stride;
  int width, height;

  const std::uint8_t* row(int y) const { return data + static_cast<std::size_t>(y) * stride; }
};

View view_of(const Image& image) {
  return {image.pixels.data(), static_cast<std::size_t>(image.width) * 3, image.width, image.height};
}

// The bytes of a row, padded to whole lanes.
std::size_t padded_row(int width) {
  return (static_cast<std::size_t>(width) * 3 + kLaneBytes - 1) / kLaneBytes * kLaneBytes;
}

// Rows first .. first + count of the source after the horizontal pass, padded to whole lanes.
struct Rows {
  int first = 0;
  std::size_t stride = 0;
  std::vector<std::uint8_t> bytes;

  Rows(int first_row, int count, int width)
      : first(first_row), stride(padded_row(width)), bytes(stride * static_cast<std::size_t>(count)) {}
  std::uint8_t* row(int y) { return bytes.data() + static_cast<std::size_t>(y - first) * stride; }
  const std::uint8_t* row(int y) const { return bytes.data() + static_cast<std::size_t>(y - first) * stride; }
};

// The horizontal pass turns blocks of rows on their side, so that its inner loop runs over rows, contiguous in memory,
// instead of over taps.
void stand_up(const View& source, int top, int rows, std::uint8_t* columns) {
  const std::size_t row_bytes = static_cast<std::size_t>(source.width) * 3;
  for (int r = 0; r < rows; ++r) {
    const std::uint8_t* row = source.row(top + r);
    for (std::size_t i = 0; i < row_bytes; ++i) columns[i * kBlockRows + static_cast<std::size_t>(r)] = row[i];
  }
}

void lay_down(const std::uint8_t* columns, int top, int rows, std::size_t row_bytes, Rows& out) {
  for (int r = 0; r < rows; ++r) {
    std::uint8_t* row = out.row(top + r);
    for (std::size_t i = 0; i < row_bytes; ++i) row[i] = columns[i * kBlockRows + static_cast<std::size_t>(r)];
  }
}

void pass_horizontally(const View& source, const Taps& taps, Rows& out, int end_row) {
  std::vector<std::uint8_t> columns(static_cast<std::size_t>(source.width) * kLaneBytes);
  std::vector<std::uint8_t> result(static_cast<std::size_t>(taps.outputs()) * kLaneBytes);
  for (int top = out.first; top < end_row; top += kBlockRows) {
    const int rows = std::min(kBlockRows, end_row - top);
    stand_up(source, top, rows, columns.data());
    for (int x = 0; x < taps.outputs(); ++x) {
      const std::size_t first = static_cast<std::size_t>(taps.first[static_cast<std::size_t>(x)]);
      weigh_lane(columns.data() + first * kLaneBytes, kLaneBytes, taps.of(x), taps.count[static_cast<std::size_t>(x)],
                 result.data() + static_cast<std::size_t>(x) * kLaneBytes);
    }
    lay_down(result.data(), top, rows, static_cast<std::size_t>(taps.outputs()) * 3, out);
  }
}

void copy_rows(const View& source, int left, int width, Rows& out, int end_row) {
  for (int y = out.first; y < end_row; ++y) {
    std::memcpy(out.row(y), source.row(y) + static_cast<std::size_t>(left) * 3, static_cast<std::size_t>(width) * 3);
  }
}

void pass_vertically(const Rows& source, const Taps& taps, Image& out) {
  const std::size_t row_bytes = static_cast<std::size_t>(out.width) * 3;
  std::vector<std::uint8_t> line(source.stride);
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* top = source.row(taps.first[static_cast<std::size_t>(y)]);
    const int count = taps.count[static_cast<std::size_t>(y)];
    for (std::size_t i = 0; i < source.stride; i += kLaneBytes) {
      weigh_lane(top + i, source.stride, taps.of(y), count, line.data() + i);
    }
    std::memcpy(out.row(y), line.data(), row_bytes);
  }
}

Image resample(const View& source, const Axis& across, const Axis& down, Kernel kernel) {
  // Where the height is kept, one source row per output row with weight 1.
  const Taps vertical = make_taps(down, down.keeps_size() ? Kernel::kBox : kernel);
  const int first_row = vertical.first.front();
  const int end_row = vertical.first.back() + vertical.count.back();
  Image out(across.end_out - across.first_out, down.end_out - down.first_out);

  Rows rows(first_row, end_row - first_row, out.width);
  if (across.keeps_size()) {
    copy_rows(source, across.first_out, out.width, rows, end_row);
  } else {
    pass_horizontally(source, make_taps(across, kernel), rows, end_row);
  }
  pass_vertically(rows, vertical, out);
  return out;
}

Axis whole_axis(int in, int out) { return {in, 0, static_cast<float>(in), out, 0, out}; }

bool holds(int width, int height, const Box& box) {
  return box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.width <= width - box.left &&
         box.height <= height - box.top;
}

void check_output(int width, int height) {
  invariant(width > 0 && height > 0, "resize to ", width, " x ", height, " pixels");
}

bool is_integral(float value) { return value == std::floor(value); }

}  // namespace

Image resized_crop(const Image& image, const Box& box, int out_width, int out_height, Kernel kernel) {
  check_output(out_width, out_height);
  invariant(holds(image.width, image.height, box), "crop of ", box.width, " x ", box.height, " at (", box.left, ", ",
            box.top, ") outside an image of ", image.width, " x ", image.height);
  View part = view_of(image);
  part.data = part.row(box.top) + static_cast<std::size_t>(box.left) * 3;
  part.width = box.width;
  part.height = box.height;
  return resample(part, whole_axis(box.width, out_width), whole_axis(box.height, out_height), kernel);
}

Image resize(const Image& image, int out_width, int out_height, Kernel kernel) {
  return resized_crop(image, {0, 0, image.width, image.height}, out_width, out_height, kernel);
}

Image resize_region(const Image& image, const Region& region, int out_width, int out_height, Kernel kernel) {
  check_output(out_width, out_height);
  invariant(region.left >= 0 && region.top >= 0 && region.left < region.right && region.top < region.bottom &&
                region.right <= static_cast<float>(image.width) && region.bottom <= static_cast<float>(image.height),
            "resize of a region outside an image of ", image.width, " x ", image.height);
  if (is_integral(region.left) && is_integral(region.top) &&
      region.right - region.left == static_cast<float>(out_width) &&
      region.bottom - region.top == static_cast<float>(out_height)) {
    const Box box{static_cast<int>(region.left), static_cast<int>(region.top), out_width, out_height};
    return resized_crop(image, box, out_width, out_height, kernel);
  }
  return resample(view_of(image), {image.width, region.left, region.right, out_width, 0, out_width},
                  {image.height, region.top, region.bottom, out_height, 0, out_height}, kernel);
}

Image resized_window(const Image& image, int width, int height, const Box& window, Kernel kernel) {
  check_output(width, height);
  invariant(holds(width, height, window), "window of ", window.width, " x ", window.height, " at (", window.left, ", ",
            window.top, ") outside ", width, " x ", height);
  Axis across = whole_axis(image.width, width);
  Axis down = whole_axis(image.height, height);
  across.first_out = window.left;
  across.end_out = window.left + window.width;
  down.first_out = window.top;
  down.end_out = window.top + window.height;
  return resample(view_of(image), across, down, kernel);
}

}  // namespace lacuna
