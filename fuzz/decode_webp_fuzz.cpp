// fuzz: io
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  if (size < 12) return 0;  // the signature that decode_image has seen
  return fuzz::try_image(
      data, size, [](std::span<const std::uint8_t> bytes) { return decode_webp(bytes, "input", fuzz::kLimits); });
}
