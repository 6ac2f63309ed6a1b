#include "data/view/color.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "data/view/blend.h"

namespace lacuna {
namespace {

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
  const std::size_t pixels = image.pixels.size() / 3;
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + 0.5);
}

struct Hsv {
  int hue = 0, saturation = 0, value = 0;  // bytes
};

// The float32 of each step is Pillow's; sums and the remainder are double.
Hsv to_hsv(const std::uint8_t* rgb) {
  const int low = std::min({rgb[0], rgb[1], rgb[2]}), high = std::max({rgb[0], rgb[1], rgb[2]});
  if (low == high) return {.value = high};
  const float range = static_cast<float>(high - low);
  const auto share = [&](int channel) { return static_cast<float>(high - rgb[channel]) / range; };
  const float red = share(0), green = share(1), blue = share(2);
  float sextant;
  if (rgb[0] == high)
    sextant = blue - green;
  else if (rgb[1] == high)
    sextant = static_cast<float>(2.0 + static_cast<double>(red) - static_cast<double>(blue));
  else
    sextant = static_cast<float>(4.0 + static_cast<double>(green) - static_cast<double>(red));
  const float turn = static_cast<float>(std::fmod(static_cast<double>(sextant) / 6.0 + 1.0, 1.0));
  const float saturation = range / static_cast<float>(high);
  return {static_cast<int>(static_cast<double>(turn) * 255.0),
          static_cast<int>(static_cast<double>(saturation) * 255.0), high};
}

void to_rgb(const Hsv& color, std::uint8_t* rgb) {
  if (color.saturation == 0) {
    std::fill_n(rgb, 3, static_cast<std::uint8_t>(color.value));
    return;
  }
  const double sextants = color.hue * 6.0 / 255.0;
  const int sextant = static_cast<int>(sextants);
  const double part = static_cast<double>(static_cast<float>(sextants - sextant));
  const double saturation = static_cast<double>(static_cast<float>(color.saturation / 255.0));
  const auto level = [&](double share) {
    return static_cast<std::uint8_t>(std::clamp(std::round(color.value * (1.0 - share)), 0.0, 255.0));
  };
  const std::uint8_t v = static_cast<std::uint8_t>(color.value);
  const std::uint8_t p = level(saturation), q = level(saturation * part), t = level(saturation * (1.0 - part));
  const std::array<std::array<std::uint8_t, 3>, 6> sides = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::copy_n(sides[static_cast<std::size_t>(sextant % 6)].begin(), 3, rgb);
}

}  // namespace

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

void adjust_hue(Image& image, double shift) {
  const int turn = static_cast<int>(shift * 255.0);
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    Hsv color = to_hsv(&image.pixels[i]);
    color.hue = (color.hue + turn) & 255;
    to_rgb(color, &image.pixels[i]);
  }
}

void to_grayscale(Image& image) {
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    std::fill_n(&image.pixels[i], 3, static_cast<std::uint8_t>(luma(&image.pixels[i])));
  }
}

ColorJitter draw_color_jitter(double strength, Rng& rng) { return draw_color_jitter(strength, 0.0, rng); }

ColorJitter draw_color_jitter(double strength, double hue, Rng& rng) {
  ColorJitter jitter;
  for (std::size_t last = hue > 0.0 ? 3 : 2; last > 0; --last) {
    std::swap(jitter.order[last], jitter.order[static_cast<std::size_t>(rng.integer(0, static_cast<int>(last)))]);
  }
  const double low = std::max(0.0, 1.0 - strength);
  jitter.brightness = rng.uniform(low, 1.0 + strength);
  jitter.contrast = rng.uniform(low, 1.0 + strength);
  jitter.saturation = rng.uniform(low, 1.0 + strength);
  if (hue > 0.0) jitter.hue = rng.uniform(-hue, hue);
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
      case ColorOp::kHue:
        if (jitter.hue) adjust_hue(image, *jitter.hue);
        break;
    }
  }
}

}  // namespace lacuna
