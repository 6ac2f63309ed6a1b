// fuzz: io
#include <algorithm>

#include "fuzz/image_target.h"
#include "io/image/webp.h"

namespace lacuna::fuzz {
namespace {

// Somewhere inside, told by the last bytes of the input.
Box box_of(std::span<const std::uint8_t> bytes, const ImageSize& size) {
  const auto pick = [&](std::size_t i, int low, int high) {
    return low + (bytes[bytes.size() - i] * 256 + bytes[bytes.size() - i - 4]) % (high - low + 1);
  };
  Box box{0, 0, pick(1, 1, size.width), pick(2, 1, size.height)};
  box.left = pick(3, 0, size.width - box.width);
  box.top = pick(4, 0, size.height - box.height);
  return box;
}

// The whole image, after a part was compared with it.
Image decode(std::span<const std::uint8_t> bytes) {
  Image pixels;
  ImageView part{};
  try {
    WebpReader reader;
    if (!reader.open(bytes, "input", kLimits)) return decode_webp(bytes, "input", kLimits);
    const Box box = box_of(bytes, reader.size());
    part = reader.read(box, pixels);
    const Image whole = decode_webp(bytes, "input", kLimits);
    const ImageView expected = ImageView(whole).part(box);
    for (int y = 0; y < part.height; ++y) {
      if (!std::equal(part.row(y), part.row(y) + std::ptrdiff_t{3} * part.width, expected.row(y))) std::abort();
    }
    return whole;
  } catch (const Error&) {
    if (part.height > 0) std::abort();  // accepted, and the whole is not
    decode_webp(bytes, "input", kLimits);
    std::abort();  // the other way round
  }
}

}  // namespace
}  // namespace lacuna::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 16) return 0;  // the signature that decode_image has seen
  return lacuna::fuzz::try_image(data, size, lacuna::fuzz::decode);
}
