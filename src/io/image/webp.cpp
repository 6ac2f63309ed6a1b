// WebP through libwebp: the still image, or the first frame of an animation on its canvas (black where the frame does
// not reach). Alpha is dropped, not composited.

#include "io/image/webp.h"

#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/error.h"
#include "io/image/decoders.h"

namespace lacuna {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kRiffHeader = 12;
constexpr std::size_t kChunkHeader = 8;
constexpr std::size_t kFrameHeader = 16;  // of an ANMF chunk: offsets, sizes, duration and flags

std::uint32_t little_endian(const std::uint8_t* p, int bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::uint32_t{p[i]} << (8 * i);
  return value;
}

struct Frame {
  int left = 0, top = 0;
  Bytes image;  // chunks of a still image without their container, which libwebp reads as they are
};

Frame first_frame(Bytes file, const std::string& name) {
  for (std::size_t position = kRiffHeader; file.size() - position >= kChunkHeader;) {
    const Bytes rest = file.subspan(position);
    const std::string_view type(reinterpret_cast<const char*>(rest.data()), 4);
    const std::size_t length = little_endian(rest.data() + 4, 4);
    if (length > rest.size() - kChunkHeader) break;
    if (type == "ANMF" && length > kFrameHeader) {
      const Bytes data = rest.subspan(kChunkHeader, length);
      return {static_cast<int>(2 * little_endian(data.data(), 3)), static_cast<int>(2 * little_endian(&data[3], 3)),
              data.subspan(kFrameHeader)};
    }
    position += kChunkHeader + std::min(length + length % 2, rest.size() - kChunkHeader);
  }
  fail_data(name, ": damaged WebP: an animation without a whole first frame");
}

WebPBitstreamFeatures features_of(Bytes bytes, const std::string& name) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK) {
    fail_data(name, ": damaged WebP: the header cannot be read");
  }
  return features;
}

WebPBitstreamFeatures checked_features(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  if (bytes.size() - 8 < little_endian(bytes.data() + 4, 4)) {
    fail_data(name, ": damaged WebP: the file ends before its stated size");
  }
  const WebPBitstreamFeatures features = features_of(bytes, name);
  check_image_size(features.width, features.height, name, limits);
  return features;
}

[[noreturn]] void refuse_data(const std::string& name) {
  fail_data(name, ": damaged WebP: the image data cannot be decoded");
}

}  // namespace

bool WebpReader::open(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  const WebPBitstreamFeatures features = checked_features(bytes, name, limits);
  constexpr int kLossy = 1;
  if (features.format != kLossy || features.has_alpha != 0 || features.has_animation != 0) return false;
  bytes_ = bytes;
  name_ = name;
  size_ = {features.width, features.height};
  return true;
}

ImageView WebpReader::read(const Box& box, Image& image) const {
  invariant(holds(size_.width, size_.height, box), "WebpReader: a box outside ", name_);
  constexpr int kMargin = 2;  // one chroma sample; the part starts at one, too
  const int left = std::max(box.left - kMargin, 0) / 2 * 2, top = std::max(box.top - kMargin, 0) / 2 * 2;
  image.width = std::min(box.left + box.width + kMargin, size_.width) - left;
  image.height = size_.height - top;
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  image.pixels.resize(stride * static_cast<std::size_t>(image.height));

  WebPDecoderConfig config;
  invariant(WebPInitDecoderConfig(&config) != 0, "another version of libwebp than at compile time");
  config.options.use_cropping = 1;
  config.options.crop_left = left;
  config.options.crop_top = top;
  config.options.crop_width = image.width;
  config.options.crop_height = image.height;
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {image.pixels.data(), static_cast<int>(stride), image.pixels.size()};
  if (WebPDecode(bytes_.data(), bytes_.size(), &config) != VP8_STATUS_OK) refuse_data(name_);
  return ImageView(image).part({box.left - left, box.top - top, box.width, box.height});
}

Image decode_webp(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  const WebPBitstreamFeatures canvas = checked_features(bytes, name, limits);
  Frame frame{0, 0, bytes};
  if (canvas.has_animation != 0) {
    frame = first_frame(bytes, name);
    const WebPBitstreamFeatures size = features_of(frame.image, name);
    if (size.width > canvas.width - frame.left || size.height > canvas.height - frame.top) {
      fail_data(name, ": damaged WebP: the first frame does not fit the canvas");
    }
  }
  Image image(canvas.width, canvas.height);
  std::uint8_t* start = image.row(frame.top) + static_cast<std::ptrdiff_t>(frame.left) * 3;
  const std::size_t room = image.pixels.size() - static_cast<std::size_t>(start - image.pixels.data());
  if (WebPDecodeRGBInto(frame.image.data(), frame.image.size(), start, room, image.width * 3) == nullptr) {
    refuse_data(name);
  }
  return image;
}

}  // namespace lacuna
