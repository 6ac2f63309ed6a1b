#include "io/image/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/image/decoders.h"
#include "io/image/exif.h"
#include "io/positioned_file.h"

namespace lacuna {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  const char* format;
};

// Formats we name when we refuse them.
constexpr std::array kUnsupported = {
    Signature{0, "BM"sv, "BMP"},
    Signature{0, "8BPS"sv, "Photoshop (PSD)"},
    Signature{0, "\0\0\1\0"sv, "ICO"},
    Signature{0, "\0\0\0\x0CjP  "sv, "JPEG 2000"},
    Signature{0, "\xFF\x4F\xFF\x51"sv, "JPEG 2000"},
    Signature{0, "\xFF\x0A"sv, "JPEG XL"},
    Signature{0, "\0\0\0\x0CJXL "sv, "JPEG XL"},
    Signature{4, "ftypavif"sv, "AVIF"},
    Signature{4, "ftyphei"sv, "HEIC"},
    Signature{4, "ftypmif1"sv, "HEIF"},
    Signature{0, "P1\n"sv, "PBM"},
    Signature{0, "P2\n"sv, "PGM"},
    Signature{0, "P3\n"sv, "PPM"},
    Signature{0, "P4\n"sv, "PBM"},
    Signature{0, "P5\n"sv, "PGM"},
    Signature{0, "P6\n"sv, "PPM"},
    Signature{0, "\x1F\x8B"sv, "gzip"},
    Signature{0, "<svg"sv, "SVG"},
};

constexpr const char* kSupported = "; JPEG, PNG, WebP, GIF and TIFF can be read: convert the file or remove it";

bool has(std::string_view content, std::size_t offset, std::string_view signature) {
  return content.size() >= offset && content.substr(offset).starts_with(signature);
}

[[noreturn]] void refuse_content(std::string_view content, const std::string& name) {
  if (content.empty()) fail_data(name, ": the file is empty");
  for (const Signature& signature : kUnsupported) {
    if (has(content, signature.offset, signature.bytes)) {
      fail_data(name, ": the content is ", signature.format, kSupported);
    }
  }
  fail_data(name, ": the content is no known image format", kSupported);
}

// Also BigTIFF, whose version is 43.
bool is_tiff(std::string_view content) {
  return has(content, 0, "II*\0"sv) || has(content, 0, "MM\0*"sv) || has(content, 0, "II+\0"sv) ||
         has(content, 0, "MM\0+"sv);
}

// Formats that are RGB in the end.
Image decode_bytes(std::span<const std::uint8_t> bytes, std::string_view content, const std::string& name,
                   const DecodeLimits& limits) {
  if (has(content, 0, "\xFF\xD8\xFF"sv)) return decode_jpeg(bytes, name, limits);
  if (has(content, 0, "RIFF"sv) && has(content, 8, "WEBP"sv)) return decode_webp(bytes, name, limits);
  if (has(content, 0, "GIF87a"sv) || has(content, 0, "GIF89a"sv)) return decode_gif(bytes, name, limits);
  refuse_content(content, name);
}

Image decode_plain(std::span<const std::uint8_t> bytes, std::string_view content, const std::string& name,
                   const DecodeLimits& limits, const DecodeOptions& options) {
  if (has(content, 0, "\x89PNG\r\n\x1A\n"sv)) return decode_png(bytes, name, limits, options);
  Image image = decode_bytes(bytes, content, name, limits);
  if (options.range) map_range(image, *options.range);
  return image;
}

Image with_channels(Image image, const std::array<int, 3>& channels) {
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    const std::array<std::uint8_t, 3> rgb = {image.pixels[i], image.pixels[i + 1], image.pixels[i + 2]};
    for (std::size_t c = 0; c < 3; ++c) image.pixels[i + c] = rgb[static_cast<std::size_t>(channels[c])];
  }
  return image;
}

// `channels` as a sheet; a short list goes on with its last.
std::array<int, 3> sheet_of(std::span<const int> channels) {
  const auto at = [&](std::size_t c) { return channels[std::min(c, channels.size() - 1)]; };
  return {at(0), at(1), at(2)};
}

}  // namespace

void check_image_size(std::int64_t width, std::int64_t height, const std::string& name, const DecodeLimits& limits,
                      std::size_t sheets) {
  if (width <= 0 || height <= 0) fail_data(name, ": the header says ", width, " x ", height, " pixels");
  if (std::max(width, height) > limits.max_side) {
    fail_data(name, ": the header says ", width, " x ", height, " pixels, a side longer than the limit of ",
              limits.max_side);
  }
  if (width > limits.max_pixels / height) {
    fail_data(name, ": the header says ", width, " x ", height, " pixels, more than the limit of ", limits.max_pixels);
  }
  if (width * height > limits.max_pixels / static_cast<std::int64_t>(sheets)) {
    fail_data(name, ": ", width, " x ", height, " pixels in the channels that data.bands asks for are more than the ",
              "limit of ", limits.max_pixels, " in threes of channels");
  }
}

std::vector<std::array<int, 3>> choose_channels(const DecodeOptions& options, int channels, const std::string& name) {
  invariant(options.bands.empty() || options.bands.size() == 3, "an RGB image of ", options.bands.size(), " channels");
  const std::span<const int> spectrum = options.spectrum;
  std::vector<std::array<int, 3>> sheets;
  for (std::size_t c = 0; c < spectrum.size(); c += 3) sheets.push_back(sheet_of(spectrum.subspan(c)));
  sheets.push_back(sheet_of(options.bands.empty() ? spectrum : options.bands));
  for (const std::array<int, 3>& sheet : sheets) {
    for (const int band : sheet) {
      if (band < 0 || band >= channels)
        fail_data(name, ": data.bands asks for channel ", band, ", but the file has ", channels, ", counted from 0");
    }
  }
  return sheets;
}

Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                   const DecodeOptions& options) {
  return std::move(decode_sheets(bytes, name, limits, options).back());
}

Sheets decode_sheets(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                     const DecodeOptions& options) {
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_tiff(content)) return decode_tiff(bytes, name, limits, options);
  Image image = decode_plain(bytes, content, name, limits, options);
  if (options.orient) image = upright(std::move(image), exif_orientation(bytes));
  Sheets sheets;
  if (options.bands.empty() && options.spectrum.empty()) {
    sheets.push_back(std::move(image));
    return sheets;
  }
  const auto chosen = choose_channels(options, 3, name);
  check_image_size(image.width, image.height, name, limits, chosen.size());
  for (const auto& channels : chosen) sheets.push_back(with_channels(image, channels));
  return sheets;
}

void map_range(Image& image, const std::array<double, 2>& range) {
  std::array<std::uint8_t, 256> levels{};
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = level_in_range(static_cast<double>(i), range);
  for (std::uint8_t& level : image.pixels) level = levels[level];
}

void interleave(std::span<const Image> sheets, int channels, std::uint8_t* out) {
  const std::size_t pixels = sheets[0].pixels.size() / 3;
  for (int c = 0; c < channels; ++c) {
    const std::uint8_t* from = sheets[static_cast<std::size_t>(c / 3)].pixels.data() + c % 3;
    std::uint8_t* to = out + c;
    for (std::size_t i = 0; i < pixels; ++i, from += 3, to += channels) *to = *from;
  }
}

Image load_image(const std::filesystem::path& path, const DecodeLimits& limits, const DecodeOptions& options) {
  const std::string name = path.string();
  std::vector<std::uint8_t> bytes;
  read_whole_file(name, static_cast<std::uint64_t>(limits.max_file_bytes), bytes);
  return decode_image(bytes, name, limits, options);
}

bool is_image_name(const std::filesystem::path& path) {
  static constexpr std::array kExtensions = {".jpg"sv,  ".jpeg"sv, ".jpe"sv, ".jfif"sv, ".png"sv,
                                             ".webp"sv, ".gif"sv,  ".tif"sv, ".tiff"sv};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace lacuna
