#pragma once
// One decoder per format, behind decode_image, which has seen the format's signature at the start of `bytes`. Each
// throws Error(kBadData) whose text starts with `name`, and spends memory and time that its limits and the size of the
// file bound.

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/image/image.h"

namespace lacuna {

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);
Image decode_png(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                 const DecodeOptions& options = {});
Image decode_webp(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);
Image decode_gif(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);
Sheets decode_tiff(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                   const DecodeOptions& options = {});

// The channels of each sheet that the options ask for. Refuses those that a file of `channels` channels does not have.
std::vector<std::array<int, 3>> choose_channels(const DecodeOptions& options, int channels, const std::string& name);

// The level of a value in a range that becomes 0 to 255, rounded; no number is 0.
inline std::uint8_t level_in_range(double value, const std::array<double, 2>& range) {
  const double level = 255 * ((value - range[0]) / (range[1] - range[0])) + 0.5;
  return level > 0 ? static_cast<std::uint8_t>(std::min(level, 255.0)) : std::uint8_t{0};
}
void map_range(Image& image, const std::array<double, 2>& range);  // of 8-bit levels

// Refuses a header that claims more than the limits allow, before anything of that size is allocated. The pixels of
// all sheets count.
void check_image_size(std::int64_t width, std::int64_t height, const std::string& name, const DecodeLimits& limits,
                      std::size_t sheets = 1);

}  // namespace lacuna
