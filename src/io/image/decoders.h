#pragma once
// One decoder per format, behind decode_image, which has seen the format's signature at the start of `bytes`. Each
// throws Error(kBadData) whose text starts with `name`, and spends memory and time that its limits and the size of the
// file bound.

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

// Refuses a header that claims more than the limits allow, before anything of that size is allocated. The pixels of
// all sheets count.
void check_image_size(std::int64_t width, std::int64_t height, const std::string& name, const DecodeLimits& limits,
                      std::size_t sheets = 1);

}  // namespace lacuna
