// fuzz: io
// The way in: the format by content, orientation read and applied.
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  static const DecodeOptions kUprightOnes{.orient = true};
  return fuzz::try_image(data, size, [](std::span<const std::uint8_t> bytes) {
    return decode_image(bytes, "input", fuzz::kLimits, kUprightOnes);
  });
}
