#include "nn/weights/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr int64_t kMaxImageSide = 8192;

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
  PixelStats stats{.mean = in.channels(mean, fallback.mean), .std = in.channels(std, fallback.std)};
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

// "size" of a processor: the short side alone, or both sides.
void read_size(const JsonReader& in, bool square, Preprocessing& out) {
  const nlohmann::json size = in.has("size") ? in.json()["size"] : nlohmann::json();
  if (size.is_object() && size.contains("shortest_edge")) {
    const JsonReader edge(size, in.where() + ": size");
    check(!size.contains("longest_edge"), edge.where(),
          ": key 'longest_edge' bounds the images, which is not supported");
    out.framing = {.fit = Fit::kCrop, .resized = read_side(edge, "shortest_edge")};
  } else {
    out.framing = {.fit = square || size.is_object() ? Fit::kSquash : Fit::kCrop, .resized = read_side(in, "size")};
  }
}

// What "center" of timm, "shortest" of OpenCLIP and their kin mean.
Fit read_fit(const JsonReader& in) {
  struct Row {
    const char *key, *name;
    Fit fit;
  };
  constexpr Row kNames[] = {{"crop_mode", "center", Fit::kCrop},     {"crop_mode", "squash", Fit::kSquash},
                            {"crop_mode", "border", Fit::kPad},      {"resize_mode", "shortest", Fit::kCrop},
                            {"resize_mode", "squash", Fit::kSquash}, {"resize_mode", "longest", Fit::kPad}};
  for (const char* key : {"crop_mode", "resize_mode"}) {
    if (!in.has(key)) continue;
    const std::string found = in.word(key, "");
    std::string known;
    for (const Row& row : kNames) {
      if (row.key != std::string_view(key)) continue;
      if (row.name == found) return row.fit;
      known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    fail(in.where(), ": key '", key, "' is '", printable(found), "'; known are ", known);
  }
  return Fit::kCrop;
}

// timm fills a border with the mean of the pixels, OpenCLIP with a grey of its own.
std::array<std::uint8_t, 3> read_fill(const JsonReader& in, const PixelStats& stats) {
  std::array<std::uint8_t, 3> out{};
  const double grey = in.has("resize_mode") ? in.number("fill_color", 0) : -1;
  check(grey <= 255, in.where(), ": key 'fill_color' must be between 0 and 255, found ", grey);
  for (size_t i = 0; i < 3; ++i)
    out[i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(grey < 0 ? 255 * stats.mean[i] : grey), 0.0, 255.0));
  return out;
}

Kernel read_kernel_name(const JsonReader& in, Kernel fallback) {
  const std::string name = in.word("interpolation", "");
  if (name.empty()) return fallback;
  for (const KernelRow& row : kRows) {
    if (row.name == name) return row.kernel;
  }
  fail(in.where(), ": key 'interpolation' is '", printable(name),
       "'; known are lanczos, bilinear, bicubic, box and hamming");
}

}  // namespace

int64_t read_side(const JsonReader& in, const char* key) {
  if (!in.has(key)) return 0;
  nlohmann::json side = in.json()[key];
  if (side.is_object() && side.size() == 2 && side.contains("height") && side.contains("width"))
    side = {side["height"], side["width"]};
  if (side.is_array() && side.size() == 3) side.erase(side.begin());  // timm's input_size starts with the channels
  if (side.is_array() && side.size() == 2 && side[0] == side[1]) side = side[0];
  check(side.is_number_integer() && side.get<int64_t>() > 0 && side.get<int64_t>() <= kMaxImageSide, in.where(),
        ": key '", key, "' must be the side of square images, up to ", kMaxImageSide, ", found ",
        printable(in.json()[key].dump()));
  return side.get<int64_t>();
}

Preprocessing read_processor(const JsonReader& in, const Preprocessing& fallback) {
  check(in.flag("do_rescale", true) && std::abs(in.number("rescale_factor", 1 / 255.0) * 255 - 1) < 1e-6, in.where(),
        ": pixels are always scaled from 0..255 to [0, 1] before they are normalised, but 'do_rescale' or "
        "'rescale_factor' says otherwise");
  const size_t channels = fallback.stats.mean.size();
  const PixelStats as_they_are{std::vector<double>(channels, 0.0), std::vector<double>(channels, 1.0)};
  const bool normalized = in.flag("do_normalize", true);
  Preprocessing out{.stats = normalized ? read_stats(in, "image_mean", "image_std", fallback.stats) : as_they_are,
                    .kernel = read_code(in, fallback.kernel)};
  std::string type = in.word("image_processor_type", "");
  if (type.empty()) type = in.word("feature_extractor_type", "");
  const bool crops = type.starts_with("CLIP") || type.starts_with("Bit") || type.empty();
  read_size(in, !crops, out);
  const bool cut = in.flag("do_center_crop", crops && in.has("crop_size"));
  if (!in.flag("do_resize", true)) out.framing = {.fit = Fit::kCrop};
  out.framing.truncates = true;
  out.side = cut ? read_side(in, "crop_size") : out.framing.resized;
  if (!cut && out.framing.fit == Fit::kCrop) out.side = 0;  // images of any shape, which only their own program takes
  return out;
}

Preprocessing read_named_preprocessing(const JsonReader& in, const Preprocessing& fallback, double crop_pct) {
  Preprocessing out{.stats = read_stats(in, "mean", "std", fallback.stats),
                    .kernel = read_kernel_name(in, fallback.kernel),
                    .framing = {.fit = read_fit(in)},
                    .side = in.has("input_size") ? read_side(in, "input_size") : read_side(in, "size")};
  const double ratio = in.has("crop_pct") ? in.number("crop_pct", 1) : crop_pct;
  check(ratio > 0 && ratio <= 2, in.where(), ": key 'crop_pct' must be a share of the image, found ", ratio);
  const auto side = static_cast<double>(out.side > 0 ? out.side : fallback.side);
  out.framing.resized = static_cast<int64_t>(std::floor(side / ratio));
  check(out.framing.fit != Fit::kPad || out.stats.mean.size() == 3, in.where(),
        ": images of other than three channels are not padded; set another crop_mode");
  if (out.framing.fit == Fit::kPad) out.framing.fill = read_fill(in, out.stats);
  return out;
}

Framing scaled(Framing framing, int64_t from_side, int64_t to_side) {
  if (from_side > 0 && framing.resized > 0)
    framing.resized = std::max<int64_t>(1, (framing.resized * to_side + from_side / 2) / from_side);
  return framing;
}

int64_t kernel_code(Kernel kernel) {
  for (const KernelRow& row : kRows) {
    if (row.kernel == kernel) return row.code;
  }
  return 3;
}

}  // namespace lacuna
