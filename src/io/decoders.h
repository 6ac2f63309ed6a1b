#pragma once
// One decoder per format, behind decode_image. Each throws Error(kBadData) whose text starts with `name`.

#include <cstdint>
#include <span>
#include <string>

#include "io/image.h"

namespace lacuna {

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);
Image decode_png(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);
Image decode_webp(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

// Refuses a header that claims more than the limits allow, before anything of that size is allocated.
void check_image_size(std::int64_t width, std::int64_t height, const std::string& name, const DecodeLimits& limits);

}  // namespace lacuna
