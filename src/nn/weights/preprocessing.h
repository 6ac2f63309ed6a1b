#pragma once
// How the images of a network made elsewhere are framed, resampled and normalised.

#include <filesystem>
#include <string>

#include "io/image/framing.h"
#include "io/image/pixel_stats.h"
#include "io/image/resize.h"
#include "nn/weights/json_reader.h"

namespace lacuna {

struct Preprocessing {
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  Framing framing = {};
  int64_t side = 0;  // of the images it makes, where the configuration says; else 0
};

// transformers' preprocessor_config.json; absent keys of pixels leave `fallback`, those of framing are the defaults of
// the processor it names.
Preprocessing read_processor(const JsonReader& in, const Preprocessing& fallback);

// timm's pretrained_cfg (input_size, crop_pct, crop_mode) and OpenCLIP's preprocess_cfg (size, resize_mode), with mean,
// std and the name of the interpolation. `fallback.side` is the network's own; `crop_pct` holds where none is named.
inline constexpr double kTimmCropPct = 0.875, kOpenClipCropPct = 1;
Preprocessing read_named_preprocessing(const JsonReader& in, const Preprocessing& fallback, double crop_pct);

// The side of square images: an integer, [S,S], [3,S,S] or {"height": S, "width": S}. 0 when absent.
int64_t read_side(const JsonReader& in, const char* key);

// Pillow's number of a resampling filter, which image processors store.
int64_t kernel_code(Kernel kernel);

// The same framing for a network of another side.
Framing scaled(Framing framing, int64_t from_side, int64_t to_side);

}  // namespace lacuna
