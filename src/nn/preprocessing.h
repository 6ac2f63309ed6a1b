#pragma once
// How the images of a network made elsewhere are normalised and resampled.

#include <filesystem>
#include <string>

#include "io/pixel_stats.h"
#include "io/resize.h"
#include "nn/json_reader.h"

namespace lacuna {

struct Preprocessing {
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
};

// transformers' preprocessor_config.json; absent keys leave `fallback`.
Preprocessing read_processor(const JsonReader& in, Preprocessing fallback);

// timm's pretrained_cfg and OpenCLIP's preprocess_cfg: mean, std and the name of the interpolation.
Preprocessing read_named_preprocessing(const JsonReader& in, Preprocessing fallback);

// Pillow's number of a resampling filter, which image processors store.
int64_t kernel_code(Kernel kernel);

}  // namespace lacuna
