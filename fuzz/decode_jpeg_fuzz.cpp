// fuzz: io
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  return fuzz::try_image(
      data, size, [](std::span<const std::uint8_t> bytes) { return decode_jpeg(bytes, "input", fuzz::kLimits); });
}
