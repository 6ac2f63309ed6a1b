// fuzz: io
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  static const DecodeOptions kBands{.scale_gray16 = true, .bands = {2, 0, 1}};
  static const DecodeOptions kSpectrum{
      .bands = {2, 0, 1}, .spectrum = {3, 2, 1, 0}, .range = std::array<double, 2>{-10.0, 1000.0}};
  const auto with = [](const DecodeOptions& options) {
    return [options](std::span<const std::uint8_t> bytes) {
      Sheets sheets = decode_tiff(bytes, "input", fuzz::kLimits, options);
      if (sheets.size() != (options.spectrum.empty() ? 1 : 3)) std::abort();
      return std::move(sheets.front());
    };
  };
  fuzz::try_image(data, size, with(kBands));
  fuzz::try_image(data, size, with(kSpectrum));
  return fuzz::try_image(data, size, with({}));
}
