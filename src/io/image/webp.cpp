// WebP through libwebp: the still image, or the first frame of an animation on its canvas (black where the frame does
// not reach). Alpha is dropped, not composited.

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

}  // namespace

Image decode_webp(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  if (bytes.size() - 8 < little_endian(bytes.data() + 4, 4)) {
    fail_data(name, ": damaged WebP: the file ends before its stated size");
  }
  const WebPBitstreamFeatures canvas = features_of(bytes, name);
  check_image_size(canvas.width, canvas.height, name, limits);
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
    fail_data(name, ": damaged WebP: the image data cannot be decoded");
  }
  return image;
}

}  // namespace lacuna
