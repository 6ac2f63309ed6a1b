#include "data/view/tone.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace lacuna {
namespace {

using Levels = std::array<std::uint8_t, 256>;
using Histogram = std::array<std::int64_t, 256>;

std::uint8_t clamped(std::int64_t value) { return static_cast<std::uint8_t>(std::clamp<std::int64_t>(value, 0, 255)); }

// Gives every level `v` the level change(v).
template <class Change>
void map_levels(Image& image, Change change) {
  Levels table;
  for (int v = 0; v < 256; ++v) table[static_cast<std::size_t>(v)] = clamped(change(v));
  for (std::uint8_t& value : image.pixels) value = table[value];
}

// Gives every channel the levels that `levels_of` makes of its histogram.
template <class LevelsOf>
void map_channels(Image& image, LevelsOf levels_of) {
  for (std::size_t channel = 0; channel < 3; ++channel) {
    Histogram counts{};
    for (std::size_t i = channel; i < image.pixels.size(); i += 3) ++counts[image.pixels[i]];
    const Levels table = levels_of(counts);
    for (std::size_t i = channel; i < image.pixels.size(); i += 3) image.pixels[i] = table[image.pixels[i]];
  }
}

Levels same_levels() {
  Levels table;
  for (std::size_t v = 0; v < 256; ++v) table[v] = static_cast<std::uint8_t>(v);
  return table;
}

Levels stretched(const Histogram& counts) {
  const auto used = [](std::int64_t count) { return count > 0; };
  const auto low = std::find_if(counts.begin(), counts.end(), used) - counts.begin();
  const auto high = counts.rend() - std::find_if(counts.rbegin(), counts.rend(), used) - 1;
  Levels table = same_levels();
  if (high <= low) return table;
  const double scale = 255.0 / static_cast<double>(high - low), offset = -static_cast<double>(low) * scale;
  for (std::size_t v = 0; v < 256; ++v) {
    table[v] = clamped(static_cast<std::int64_t>(static_cast<double>(v) * scale + offset));
  }
  return table;
}

Levels flattened(const Histogram& counts) {
  std::int64_t pixels = 0, brightest = 0, used = 0;
  for (const std::int64_t count : counts) {
    if (count == 0) continue;
    pixels += count;
    brightest = count;
    ++used;
  }
  Levels table = same_levels();
  const std::int64_t step = (pixels - brightest) / 255;
  if (step == 0 || used <= 1) return table;
  std::int64_t below = step / 2;
  for (std::size_t v = 0; v < 256; ++v) {
    table[v] = clamped(below / step);
    below += counts[v];
  }
  return table;
}

}  // namespace

void invert(Image& image) {
  map_levels(image, [](int v) { return 255 - v; });
}

void solarize(Image& image, int threshold) {
  map_levels(image, [threshold](int v) { return v < threshold ? v : 255 - v; });
}

void solarize_add(Image& image, int amount, int threshold) {
  map_levels(image, [=](int v) { return v < threshold ? v + amount : v; });
}

void posterize(Image& image, int bits) {
  const int mask = ~((1 << (8 - std::clamp(bits, 0, 8))) - 1) & 255;
  map_levels(image, [mask](int v) { return v & mask; });
}

void auto_contrast(Image& image) { map_channels(image, stretched); }

void equalize(Image& image) { map_channels(image, flattened); }

}  // namespace lacuna
