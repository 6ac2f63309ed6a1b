#pragma once
// Folders that other programs open by their ordinary call. Each writer first rewrites the network where that keeps what
// it computes (nn/weights/portable.h); what then cannot be expressed is told by the why_not of the target, empty when
// all can. Tensors are stored as `dtype`. A folder is written file by file: whoever replaces one does so in a fresh
// place.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "nn/clip.h"
#include "nn/weights/portable.h"

namespace lacuna {

// timm.create_model("local-dir:FOLDER", pretrained=True), and transformers' AutoModel through its timm wrapper:
// config.json with the architecture's arguments and a complete pretrained_cfg, model.safetensors.
std::string why_not_timm(const PortableVit& net);
void rewrite_for_timm(PortableVit& net);
void write_timm_folder(const std::filesystem::path& folder, PortableVit net, at::ScalarType dtype = at::kFloat);

// AutoModel.from_pretrained: config.json with model_type, preprocessor_config.json, model.safetensors. The class is
// chosen by what the network is: ViT, BEiT, DINOv2, SigLIP's vision tower or CLIP's, with a classifier where it has
// one.
std::string why_not_transformers(const PortableVit& net);
std::string transformers_class(const PortableVit& net);  // "ViTModel"
void write_transformers_folder(const std::filesystem::path& folder, PortableVit net, at::ScalarType dtype = at::kFloat);

// transformers' preprocessor_config.json: the shorter edge to `resized`, 0 for `side`, and the square of `side` in the
// middle, or, without `crops`, all of the image squashed into a square.
struct ImageProcessor {
  std::string name;  // its class
  bool crops;
  int64_t resized;
  int64_t side;
  PixelStats stats;
  Kernel kernel;
};
nlohmann::json processor_json(const ImageProcessor& processor);

// The factor that, multiplied by the width and cut to a whole number, gives the hidden width in Python's arithmetic.
double mlp_ratio(int64_t hidden, int64_t width);

// As safetensors files are written everywhere here: names in the order given, `format: pt`.
void write_weights(const std::filesystem::path& file, const NamedTensors& tensors, at::ScalarType dtype);

}  // namespace lacuna
