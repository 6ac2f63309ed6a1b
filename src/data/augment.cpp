#include "data/augment.h"

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

// a + factor * (b - a), where factor outside [0, 1] can leave the range of a byte.
std::uint8_t blend(int a, int b, float factor) {
  const float value = static_cast<float>(a) + factor * static_cast<float>(b - a);
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

int luma(const std::uint8_t* pixel) { return (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 32768) >> 16; }

// Blends every channel with one level.
void blend_with_level(Image& image, int level, double factor) {
  std::array<std::uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) {
    table[static_cast<std::size_t>(value)] = blend(level, value, static_cast<float>(factor));
  }
  for (std::uint8_t& value : image.pixels) value = table[value];
}

int mean_luma(const Image& image) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) sum += luma(&image.pixels[i]);
  const double pixels = static_cast<double>(image.pixels.size() / 3);
  return static_cast<int>(static_cast<double>(sum) / pixels + 0.5);
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

void adjust_brightness(Image& image, double factor) { blend_with_level(image, 0, factor); }

void adjust_contrast(Image& image, double factor) { blend_with_level(image, mean_luma(image), factor); }

void adjust_saturation(Image& image, double factor) {
  const float narrow = static_cast<float>(factor);
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    std::uint8_t* pixel = &image.pixels[i];
    const int gray = luma(pixel);
    for (int channel = 0; channel < 3; ++channel) pixel[channel] = blend(gray, pixel[channel], narrow);
  }
}

ColorJitter draw_color_jitter(double strength, Rng& rng) {
  ColorJitter jitter;
  for (std::size_t last = jitter.order.size() - 1; last > 0; --last) {
    std::swap(jitter.order[last], jitter.order[static_cast<std::size_t>(rng.integer(0, static_cast<int>(last)))]);
  }
  const double low = std::max(0.0, 1.0 - strength);
  jitter.brightness = rng.uniform(low, 1.0 + strength);
  jitter.contrast = rng.uniform(low, 1.0 + strength);
  jitter.saturation = rng.uniform(low, 1.0 + strength);
  return jitter;
}

void color_jitter(Image& image, const ColorJitter& jitter) {
  for (const ColorOp op : jitter.order) {
    switch (op) {
      case ColorOp::kBrightness:
        adjust_brightness(image, jitter.brightness);
        break;
      case ColorOp::kContrast:
        adjust_contrast(image, jitter.contrast);
        break;
      case ColorOp::kSaturation:
        adjust_saturation(image, jitter.saturation);
        break;
    }
  }
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
