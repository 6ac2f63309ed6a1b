#pragma once
// The encoder of DALL-E's discrete VAE (Ramesh et al., 2021), which gives BEiT and CAE their visual tokens (cae.md
// section 4.1): four groups of residual blocks, halved after each but the last, and a 1x1 convolution to the
// vocabulary.

#include <filesystem>
#include <functional>
#include <string>

#include "io/tensor/tensor_file.h"
#include "nn/torch.h"

namespace lacuna {

struct DvaeConfig {
  int64_t hidden = 256;  // channels of the first group; each later group doubles them
  int64_t vocabulary = 8192;
  int64_t groups = 4;
  int64_t blocks_per_group = 2;

  int64_t patch_side() const { return int64_t{1} << (groups - 1); }  // pixels per side of one token
};

// Sizes as the names and shapes of the file's tensors tell them. Throws Error where they contradict each other.
DvaeConfig dvae_config(const TensorFile& file);

// Convolution of stride 1 that keeps the size; weight [out,in,k,k], k odd.
class SameConvImpl : public torch::nn::Module {
 public:
  SameConvImpl(int64_t in, int64_t out, int64_t side);
  at::Tensor forward(const at::Tensor& x);  // [B,in,h,w] -> [B,out,h,w]

  at::Tensor weight, bias;
};
TORCH_MODULE(SameConv);

// id(x) + gain * res(x); res is ReLU and convolution four times (3x3, 3x3, 3x3, 1x1) through a quarter of the channels.
class DvaeBlockImpl : public torch::nn::Module {
 public:
  DvaeBlockImpl(int64_t in, int64_t out, double gain);
  at::Tensor forward(const at::Tensor& x);

  SameConv id_path{nullptr};  // null where the channels stay the same
  SameConv conv_1, conv_2, conv_3, conv_4;

 private:
  double gain_;
};
TORCH_MODULE(DvaeBlock);

class DvaeEncoderImpl : public torch::nn::Module {
 public:
  explicit DvaeEncoderImpl(const DvaeConfig& config);

  // Pixels in [0, 1] brought to the range the network was trained on, [0.1, 0.9].
  static at::Tensor map_pixels(const at::Tensor& images01) { return 0.8 * images01 + 0.1; }

  // Images in [0, 1], [B,3,S,S] with S divisible by patch_side() -> [B,K,G,G].
  at::Tensor logits(const at::Tensor& images01) { return forward(map_pixels(images01)); }
  // The likeliest token of each patch, [B,N] int64 in raster order.
  at::Tensor ids(const at::Tensor& images01);

  // From mapped pixels. `tap(stage, x)` sees stage 0 after the first convolution and stage g after group g (pooled).
  using Tap = std::function<void(int64_t stage, const at::Tensor& x)>;
  at::Tensor forward(const at::Tensor& mapped, const Tap& tap = nullptr);

  const DvaeConfig& config() const { return config_; }

  SameConv input;
  torch::nn::ModuleList blocks;  // group after group
  SameConv output;

 private:
  DvaeConfig config_;
};
TORCH_MODULE(DvaeEncoder);

// Opens a safetensors file, or a folder with one, that holds the names of the official encoder. Strict: each tensor of
// the file is used. The network comes in float32 and evaluation mode.
DvaeEncoder open_dvae(const std::filesystem::path& path);

}  // namespace lacuna
