#pragma once
// The tokenizer of BEiT v2 (vector-quantised knowledge distillation): a Vit, two linear layers with tanh between them,
// and the nearest of a codebook of unit vectors.

#include <filesystem>
#include <string>
#include <vector>

#include "nn/vit.h"

namespace lacuna {

class VqkdImpl : public torch::nn::Module {
 public:
  VqkdImpl(const VitConfig& encoder, int64_t codes, int64_t code_width);

  // Images in [0, 1] as the network takes them: in [-1, 1].
  static at::Tensor map_pixels(const at::Tensor& images01) { return images01 * 255.0 / 127.5 - 1.0; }

  // The features to be quantised, before they are made unit vectors. images [B,3,S,S] in [-1, 1] -> [B,N,code width].
  at::Tensor features(const at::Tensor& images);
  at::Tensor cosines(const at::Tensor& images);  // [B,N,codes]
  at::Tensor ids(const at::Tensor& images);      // [B,N] int64, raster order: the code of the largest cosine

  int64_t codes() const { return codebook.size(0); }

  Vit encoder;
  Linear fc1, fc2;
  at::Tensor codebook;  // [codes, code width], rows of length one
};
TORCH_MODULE(Vqkd);

struct OpenedVqkd {
  Vqkd model{nullptr};
  std::vector<std::string> notes;  // what nothing said and had to be assumed
};

// Opens a safetensors file with the official names; the decoder is left out. Heads and epsilon come from config.json
// beside it ({"encoder": {"num_heads": ..}, "layer_norm_eps": ..}); without it there is one head for every 64 channels.
// Throws Error for other tensors, other sizes, and a codebook whose rows are not of length one.
OpenedVqkd open_vqkd(const std::filesystem::path& path);

}  // namespace lacuna
