#include "data/view/augment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr int kCropTries = 10;
constexpr double kMaxSide = 1 << 24;  // of a resized image of which only a part is made

// Ties to even, as Python rounds.
int round_even(double value) { return static_cast<int>(std::nearbyint(value)); }

int offset(double uniform, int limit) { return static_cast<int>(std::floor(uniform * (limit + 1))); }

Box largest_centered_box(int width, int height, const AugmentConfig& config) {
  const double aspect = static_cast<double>(width) / height;
  Box box{0, 0, width, height};
  if (aspect < config.aspect_min) {
    box.height = std::clamp(round_even(width / config.aspect_min), 1, height);
  } else if (aspect > config.aspect_max) {
    box.width = std::clamp(round_even(height * config.aspect_max), 1, width);
  }
  box.left = (width - box.width) / 2;
  box.top = (height - box.height) / 2;
  return box;
}

// Python's round((size - crop) / 2); where the crop is larger, torchvision's padding before the image, as a negative.
int center_offset(int size, int crop) { return size < crop ? -((crop - size) / 2) : round_even((size - crop) / 2.0); }

// Puts `inner` into a black square with its corner at (left, top).
Image on_black(const Image& inner, int left, int top, int side) {
  Image out(side, side);
  for (int y = 0; y < inner.height; ++y) {
    std::memcpy(out.row(top + y) + std::ptrdiff_t{3} * left, inner.row(y), static_cast<std::size_t>(inner.width) * 3);
  }
  return out;
}

}  // namespace

Box draw_crop(int width, int height, const AugmentConfig& config, const std::function<double()>& uniform) {
  const double low = std::log(config.aspect_min);
  const double high = std::log(config.aspect_max);
  const double whole = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < kCropTries; ++attempt) {
    const double area = whole * (config.crop_min + uniform() * (config.crop_max - config.crop_min));
    const double aspect = std::exp(low + uniform() * (high - low));
    const int w = round_even(std::sqrt(area * aspect));
    const int h = round_even(std::sqrt(area / aspect));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const int top = offset(uniform(), height - h);
    const int left = offset(uniform(), width - w);
    return {left, top, w, h};
  }
  return largest_centered_box(width, height, config);
}

Box draw_crop(int width, int height, const AugmentConfig& config, Rng& rng) {
  return draw_crop(width, height, config, [&rng] { return rng.uniform(); });
}

void flip_horizontal(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* left = image.row(y);
    std::uint8_t* right = left + std::ptrdiff_t{3} * (image.width - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

void flip_vertical(Image& image) {
  const std::ptrdiff_t bytes = std::ptrdiff_t{3} * image.width;
  for (int y = 0; y < image.height / 2; ++y) {
    std::swap_ranges(image.row(y), image.row(y) + bytes, image.row(image.height - 1 - y));
  }
}

Image padded_crop(const Image& image, int margin, Padding padding, int left, int top) {
  invariant(padding == Padding::kBlack || margin < std::min(image.width, image.height), "padded_crop: a margin of ",
            margin, " cannot be mirrored from ", image.width, " x ", image.height);
  const auto mirrored = [](int i, int count) { return i < 0 ? -i : i >= count ? 2 * (count - 1) - i : i; };
  Image out(image.width, image.height);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int source_x = x + left - margin, source_y = y + top - margin;
      const bool inside = source_x >= 0 && source_x < image.width && source_y >= 0 && source_y < image.height;
      if (!inside && padding == Padding::kBlack) continue;
      source_x = mirrored(source_x, image.width), source_y = mirrored(source_y, image.height);
      std::memcpy(out.row(y) + std::ptrdiff_t{3} * x, image.row(source_y) + std::ptrdiff_t{3} * source_x, 3);
    }
  }
  return out;
}

CenterGeometry center_geometry(int width, int height, int short_side, int crop) {
  const double long_side =
      std::floor(short_side * static_cast<double>(std::max(width, height)) / std::min(width, height));
  if (long_side > kMaxSide) {
    fail_data("an image of ", width, " x ", height, " pixels is too elongated for a centre crop: with a short side of ",
              short_side, " its long side would be ", long_side);
  }
  CenterGeometry geometry;
  geometry.width = width <= height ? short_side : static_cast<int>(long_side);
  geometry.height = width <= height ? static_cast<int>(long_side) : short_side;
  geometry.left = center_offset(geometry.width, crop);
  geometry.top = center_offset(geometry.height, crop);
  return geometry;
}

Image center_view(const Image& image, int side, int short_side, Kernel kernel) {
  const CenterGeometry geometry = center_geometry(image.width, image.height, short_side, side);
  const Box window{std::max(geometry.left, 0), std::max(geometry.top, 0), std::min(side, geometry.width),
                   std::min(side, geometry.height)};
  Image visible = resized_window(image, geometry.width, geometry.height, window, kernel);
  if (window.width == side && window.height == side) return visible;
  return on_black(visible, std::max(-geometry.left, 0), std::max(-geometry.top, 0), side);
}

Image center_view(const Image& image, int side, Kernel kernel, double crop_ratio) {
  return center_view(image, side, static_cast<int>(std::floor(side / crop_ratio)), kernel);
}

}  // namespace lacuna
