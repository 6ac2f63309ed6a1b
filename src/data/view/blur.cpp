#include "data/view/blur.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/view/blend.h"

namespace lacuna {
namespace {

constexpr int kBoxPasses = 3;

// ---- Box blurs

float box_radius(float sigma) {
  const float variance = sigma * sigma / static_cast<float>(kBoxPasses);
  const float length = static_cast<float>(std::sqrt(12.0 * static_cast<double>(variance) + 1.0));
  const float whole = static_cast<float>(std::floor((static_cast<double>(length) - 1.0) / 2.0));
  float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  part /= 6 * (variance - (whole + 1) * (whole + 1));
  return whole + part;
}

// A box of 2 * radius + 1 whole taps and two partial ones, in 24-bit fixed point.
struct BoxWeights {
  int radius;
  std::uint32_t whole, edge;

  explicit BoxWeights(float r) : radius(static_cast<int>(r)) {
    whole = static_cast<std::uint32_t>(static_cast<float>(1 << 24) / (r * 2 + 1));
    edge = ((1u << 24) - static_cast<std::uint32_t>(2 * radius + 1) * whole) / 2;
  }
};

std::uint8_t weighted(const BoxWeights& box, std::uint32_t sum, std::uint32_t edges) {
  return static_cast<std::uint8_t>((box.whole * sum + box.edge * edges + (1u << 23)) >> 24);
}

// Along a line of RGB pixels, in place. `padded` becomes the line with its edge pixels repeated radius + 1 times.
void blur_along(std::uint8_t* line, int width, const BoxWeights& box, std::vector<std::uint8_t>& padded) {
  const auto margin = static_cast<std::size_t>(box.radius) + 1, count = static_cast<std::size_t>(width);
  padded.resize((count + 2 * margin) * 3);
  for (std::size_t i = 0; i < margin; ++i) {
    std::copy_n(line, 3, &padded[i * 3]);
    std::copy_n(line + (count - 1) * 3, 3, &padded[(margin + count + i) * 3]);
  }
  std::copy_n(line, count * 3, &padded[margin * 3]);
  std::array<std::uint32_t, 3> sums{};
  for (std::size_t i = 3; i < 3 * (2 * margin); ++i) sums[i % 3] += padded[i];
  for (std::size_t i = 0; i < count * 3; i += 3) {
    for (std::size_t c = 0; c < 3; ++c) {
      const std::uint32_t before = padded[i + c], after = padded[i + c + 6 * margin];
      line[i + c] = weighted(box, sums[c], before + after);
      sums[c] += after - padded[i + c + 3];
    }
  }
}

// Across the lines of an image, from `in` to `out`; a line at a time, so that it runs in vectors.
void blur_across(const Image& in, Image& out, const BoxWeights& box, std::vector<std::uint32_t>& sums) {
  const auto bytes = static_cast<std::size_t>(in.width) * 3;
  const auto line = [&in](int y) { return in.row(std::clamp(y, 0, in.height - 1)); };
  sums.assign(bytes, 0);
  for (int y = -box.radius; y <= box.radius; ++y) {
    const std::uint8_t* values = line(y);
    for (std::size_t i = 0; i < bytes; ++i) sums[i] += values[i];
  }
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t *before = line(y - box.radius - 1), *first = line(y - box.radius),
                       *after = line(y + box.radius + 1);
    std::uint8_t* target = out.row(y);
    for (std::size_t i = 0; i < bytes; ++i) {
      target[i] = weighted(box, sums[i], std::uint32_t{before[i]} + after[i]);
      sums[i] += std::uint32_t{after[i]} - first[i];
    }
  }
}

// ---- Sampled Gaussian

std::vector<float> gaussian_taps(int size, double sigma) {
  std::vector<float> taps(static_cast<std::size_t>(size));
  const int half = size / 2;
  float sum = 0.0f;
  for (int i = 0; i < size; ++i) {
    const float x = static_cast<float>((i - half) / sigma);
    sum += taps[static_cast<std::size_t>(i)] = std::exp(-0.5f * x * x);
  }
  for (float& tap : taps) tap /= sum;
  return taps;
}

// Mirrors an index into [0, count) without repeating the edge.
int mirrored(int i, int count) {
  if (count == 1) return 0;
  const int period = 2 * (count - 1);
  const int folded = ((i % period) + period) % period;
  return folded < count ? folded : period - folded;
}

// Convolves one line of `count` values, `step` apart, from `in` to `out`.
void convolve_line(const float* in, float* out, std::ptrdiff_t step, int count, const std::vector<float>& taps) {
  const int half = static_cast<int>(taps.size() / 2);
  const float* middle = taps.data() + half;
  for (int i = 0; i < count; ++i) {
    float sum = 0.0f;
    for (int d = -half; d <= half; ++d) {
      const int source = i + d >= 0 && i + d < count ? i + d : mirrored(i + d, count);
      sum += middle[d] * in[source * step];
    }
    out[i * step] = sum;
  }
}

// ---- Smoothing

constexpr float kSide = 1.0f / 13.0f, kMiddle = 5.0f / 13.0f;

// The value at `p` under the 3 x 3 kernel, rows from the lowest up, in Pillow's order of sums.
std::uint8_t smoothed(const std::uint8_t* p, std::ptrdiff_t row) {
  const auto line = [](const std::uint8_t* q, float middle) {
    return static_cast<float>(q[-3]) * kSide + static_cast<float>(q[0]) * middle + static_cast<float>(q[3]) * kSide;
  };
  float sum = 0.5f;
  sum += line(p + row, kSide);
  sum += line(p, kMiddle);
  sum += line(p - row, kSide);
  return static_cast<std::uint8_t>(std::clamp(sum, 0.0f, 255.0f));
}

}  // namespace

void gaussian_blur(Image& image, double sigma) {
  invariant(sigma >= 0.0, "gaussian_blur: sigma ", sigma);
  const float radius = box_radius(static_cast<float>(sigma));
  if (radius <= 0.0f) return;
  const BoxWeights box(radius);
  std::vector<std::uint8_t> padded;
  for (int y = 0; y < image.height; ++y) {
    for (int pass = 0; pass < kBoxPasses; ++pass) blur_along(image.row(y), image.width, box, padded);
  }
  std::vector<std::uint32_t> sums;
  Image other(image.width, image.height);
  for (int pass = 0; pass < kBoxPasses; ++pass) {
    blur_across(image, other, box, sums);
    std::swap(image.pixels, other.pixels);
  }
}

void sampled_gaussian_blur(Image& image, int size, double sigma) {
  invariant(size > 0 && size % 2 == 1 && sigma > 0.0, "sampled_gaussian_blur: size ", size, ", sigma ", sigma);
  const std::vector<float> taps = gaussian_taps(size, sigma);
  std::vector<float> values(image.pixels.begin(), image.pixels.end()), across(values.size());
  const std::ptrdiff_t row = std::ptrdiff_t{3} * image.width;
  for (int y = 0; y < image.height; ++y) {
    for (int c = 0; c < 3; ++c) {
      const std::ptrdiff_t first = y * row + c;
      convolve_line(values.data() + first, across.data() + first, 3, image.width, taps);
    }
  }
  for (std::ptrdiff_t x = 0; x < row; ++x) {
    convolve_line(across.data() + x, values.data() + x, row, image.height, taps);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(values[i]), 0.0f, 255.0f));
  }
}

void adjust_sharpness(Image& image, double factor) {
  const Image before = image;
  const std::ptrdiff_t row = std::ptrdiff_t{3} * image.width;
  for (int y = 1; y + 1 < image.height; ++y) {
    const std::uint8_t* source = before.row(y);
    std::uint8_t* target = image.row(y);
    for (std::ptrdiff_t i = 3; i + 3 < row; ++i) {
      target[i] = blend(smoothed(source + i, row), source[i], static_cast<float>(factor));
    }
  }
}

}  // namespace lacuna
