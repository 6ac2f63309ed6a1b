#pragma once
// CLIP's configuration and names, and the folder Hugging Face's CLIPModel is stored in: config.json, model.safetensors,
// preprocessor_config.json.

#include <filesystem>

#include "io/image/pixel_stats.h"
#include "io/image/resize.h"
#include "nn/text_tower.h"
#include "nn/vit.h"
#include "nn/weights/weights.h"

namespace lacuna {

struct ClipConfig {
  VitConfig vision;
  TextConfig text;
  int64_t embed = 512;  // K, the width both towers are projected to
  PixelStats stats = kClipStats;
  Kernel kernel = Kernel::kBicubic;
  bool logit_bias = false;  // a number added to the logits, as SigLIP's loss learns it
};

// The vision tower with its projection: all a teacher needs.
class ClipVisionImpl : public torch::nn::Module {
 public:
  explicit ClipVisionImpl(const ClipConfig& config);

  Vit vit;
  Linear projection;  // [K,D], no bias
};
TORCH_MODULE(ClipVision);

// The vision tower of a CLIP: class token, learned positions, no bias on the patches, a norm before the blocks.
VitConfig clip_vision(VitConfig size, Activation activation);

// Reads and validates the two configuration files. Throws Error naming file, key, expected and found.
ClipConfig read_clip_config(const std::filesystem::path& folder);

// Whose names a file bears. kCustomText is OpenCLIP's with the text tower as a module of its own ("text." in front).
enum class ClipNames { kTransformers, kOpenAi, kCustomText };

// Names of the towers: "vision." + Vit's, "vision_projection.weight", "text." + TextTower's, "text_projection.weight",
// "logit_scale" (the logarithm, as stored by everyone), "logit_bias" where there is one.
KeyMap clip_key_map(const ClipConfig& config, ClipNames names = ClipNames::kTransformers);

// Builds the vision tower and fills it strictly; text tensors of the file are known and left out.
ClipVision load_clip_vision(const std::filesystem::path& folder, const ClipConfig& config);

// Why transformers' CLIP cannot express this vision tower; empty when it can.
std::string why_not_clip(const VitConfig& vision);
std::string why_not_clip(const TextConfig& words);  // nor this text tower

// Writes the folder. `tensors` must hold all names that clip_key_map lists.
void write_clip_folder(const std::filesystem::path& folder, const ClipConfig& config, const NamedTensors& tensors,
                       at::ScalarType dtype = at::kFloat);

}  // namespace lacuna
