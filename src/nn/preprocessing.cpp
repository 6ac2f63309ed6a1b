#include "nn/preprocessing.h"

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

struct KernelRow {
  Kernel kernel;
  int64_t code;
  const char* name;
};
constexpr KernelRow kRows[] = {{Kernel::kLanczos, 1, "lanczos"},
                               {Kernel::kBilinear, 2, "bilinear"},
                               {Kernel::kBicubic, 3, "bicubic"},
                               {Kernel::kBox, 4, "box"},
                               {Kernel::kHamming, 5, "hamming"}};

PixelStats read_stats(const JsonReader& in, const char* mean, const char* std, const PixelStats& fallback) {
  const PixelStats stats{.mean = in.channels(mean, fallback.mean), .std = in.channels(std, fallback.std)};
  for (const double s : stats.std) check(s > 0, in.where(), ": key '", std, "' must be positive");
  return stats;
}

Kernel read_code(const JsonReader& in, Kernel fallback) {
  if (!in.json().contains("resample")) return fallback;
  const nlohmann::json& found = in.json()["resample"];
  check(found.is_number_integer(), in.where(), ": key 'resample' must be an integer, found ", printable(found.dump()));
  const auto code = found.get<int64_t>();
  for (const KernelRow& row : kRows) {
    if (row.code == code) return row.kernel;
  }
  fail(in.where(),
       ": key 'resample' must be one of 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box), 5 (hamming), found ", code);
}

}  // namespace

Preprocessing read_processor(const JsonReader& in, Preprocessing fallback) {
  check(in.flag("do_rescale", true), in.where(),
        ": key 'do_rescale' is false, but pixels are always scaled to [0, 1] before they are normalised");
  constexpr PixelStats kAsTheyAre{{0, 0, 0}, {1, 1, 1}};
  const bool normalized = in.flag("do_normalize", true);
  return {.stats = normalized ? read_stats(in, "image_mean", "image_std", fallback.stats) : kAsTheyAre,
          .kernel = read_code(in, fallback.kernel)};
}

Preprocessing read_named_preprocessing(const JsonReader& in, Preprocessing fallback) {
  const PixelStats stats = read_stats(in, "mean", "std", fallback.stats);
  const std::string name = in.word("interpolation", "");
  if (name.empty()) return {.stats = stats, .kernel = fallback.kernel};
  for (const KernelRow& row : kRows) {
    if (row.name == name) return {.stats = stats, .kernel = row.kernel};
  }
  fail(in.where(), ": key 'interpolation' is '", printable(name),
       "'; known are lanczos, bilinear, bicubic, box and hamming");
}

int64_t kernel_code(Kernel kernel) {
  for (const KernelRow& row : kRows) {
    if (row.kernel == kernel) return row.code;
  }
  return 3;
}

}  // namespace lacuna
