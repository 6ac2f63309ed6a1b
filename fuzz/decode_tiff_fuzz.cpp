// fuzz: io
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  static const DecodeOptions kBands{.scale_gray16 = true, .bands = {2, 0, 1}};
  const auto with = [](const DecodeOptions& options) {
    return
        [options](std::span<const std::uint8_t> bytes) { return decode_tiff(bytes, "input", fuzz::kLimits, options); };
  };
  fuzz::try_image(data, size, with(kBands));
  return fuzz::try_image(data, size, with({}));
}
