#pragma once
// Images in memory and the decoders that make them.

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lacuna {

// 8-bit RGB, rows top to bottom, pixels interleaved: pixels[(y * width + x) * 3 + channel].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  Image(int w, int h) : width(w), height(h), pixels(static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3) {}
  std::uint8_t* row(int y) { return pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3; }
  const std::uint8_t* row(int y) const {
    return pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3;
  }
};

// What a decoder may spend on one file. Checked against the header before anything is allocated.
struct DecodeLimits {
  std::int64_t max_pixels = 178'956'970;  // Pillow's error threshold (2 x MAX_IMAGE_PIXELS)
  std::int64_t max_file_bytes = std::int64_t{1} << 30;
  int max_progressive_scans = 500;
  std::int64_t max_side = 1 << 20;  // no photograph's; keeps the buffers of a resize, a few rows wide, small
};

// What a user may want other than Pillow's `convert("RGB")`.
struct DecodeOptions {
  bool orient = false;        // turn the picture upright by its EXIF orientation
  bool scale_gray16 = false;  // 16-bit gray keeps its high byte instead of being clamped to 255
  std::vector<int> bands;     // three channels, counted from 0, taken as red, green and blue; empty: the file's own
  std::vector<int> spectrum;  // channels that a network of other than three sees, in this order; empty: none does
  // Which values become 0 and 255, linearly between them, in 8-bit formats, 16-bit gray PNG and, with bands or
  // spectrum, TIFF; without, chosen channels of 16 bits keep their high byte.
  std::optional<std::array<double, 2>> range;
};

// An image of any number of channels, as RGB images of one size: channel c of the spectrum is channel c % 3 of sheet
// c / 3, the last sheet repeats the last channel where there are fewer, and one sheet more is the image in red, green
// and blue. So all that is done to RGB images is done to each sheet. Without a spectrum there is that one sheet alone.
using Sheets = std::vector<Image>;

// Decodes JPEG, PNG, WebP, GIF (first frame) or TIFF (first page), told apart by content, to what Pillow's
// `convert("RGB")` gives. EXIF orientation is not applied, as in torchvision's ImageFolder, unless asked for. Throws
// Error(kBadData) whose text starts with `name` and says what is wrong.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits = {},
                   const DecodeOptions& options = {});

// The same with the spectrum that the options ask for. RGB formats have three channels, a TIFF those it has.
Sheets decode_sheets(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                     const DecodeOptions& options);

// How many sheets hold a spectrum of so many channels.
inline int sheets_of(int channels) { return (channels + 2) / 3; }

// The spectrum's first `channels`, interleaved: pixels [height, width, channels] at `out`.
void interleave(std::span<const Image> sheets, int channels, std::uint8_t* out);

// Reads the file, then decodes it. A file that cannot be read is Error(kBadData) too.
Image load_image(const std::filesystem::path& path, const DecodeLimits& limits = {}, const DecodeOptions& options = {});

// Whether the extension, in any case, is one that folders of images are searched for: .jpg .jpeg .jpe .jfif .png .webp
// .gif .tif .tiff.
bool is_image_name(const std::filesystem::path& path);

}  // namespace lacuna
