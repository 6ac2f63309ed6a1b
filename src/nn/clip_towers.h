#pragma once
// CLIP's two towers as one value, read from files as transformers, OpenAI and OpenCLIP write them.

#include <filesystem>
#include <string>
#include <vector>

#include "nn/clip.h"

namespace lacuna {

// A file of both towers, understood by what it holds and by config.json or open_clip_config.json beside it.
struct ClipFile {
  ClipConfig config;
  ClipNames names;
  std::filesystem::path weights;
  std::vector<std::string> notes;  // what nothing said and had to be assumed
};
ClipFile find_clip(const std::filesystem::path& path);

// Both towers.
struct Clip {
  ClipConfig config;
  ClipVision vision{nullptr};
  TextTower text{nullptr};
  Linear text_projection{nullptr};  // weight [K,T]
  at::Tensor logit_scale;           // a scalar, the logarithm
  at::Tensor logit_bias;            // a scalar, 0 where the file has none
  std::vector<std::string> notes;

  NamedTensors tensors() const;                                        // under clip_key_map's names
  at::Tensor logits(const at::Tensor& images, const at::Tensor& ids);  // [B,3,S,S], [T,C] -> [B,T]
};

// Opens a folder or a .safetensors file strictly, in float32 and evaluation mode.
Clip read_clip(const std::filesystem::path& path);

}  // namespace lacuna
