#pragma once
// The Vision Transformer: patches, positions, blocks, final norm. One config covers CAE's student, timm's ViT and
// CLIP's vision tower. It knows no masks: it encodes the rows it is given.

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "nn/block.h"

namespace lacuna {

enum class Positions { kSinCos, kLearned };

struct VitConfig {
  int64_t image_side = 224;
  int64_t patch_side = 16;
  int64_t width = 768;
  int64_t depth = 12;
  int64_t heads = 12;
  int64_t hidden = 3072;
  Activation activation = Activation::kGelu;
  QkvBias qkv_bias = QkvBias::kAll;
  std::optional<double> layer_scale;
  double norm_eps = 1e-6;
  Positions positions = Positions::kLearned;
  bool patch_bias = true;
  bool pre_norm = false;  // a LayerNorm between embedding and first block, as CLIP has
  double drop_path = 0;   // maximum rate, linear over depth

  int64_t grid() const { return image_side / patch_side; }
  int64_t patches() const { return grid() * grid(); }
};

// Width, depth, heads and hidden width by name: "tiny", "small", "base", "large" with timm's head counts (3, 6, 12,
// 16), and "micro" (width 96, depth 4, 3 heads) for demos and tests. Other fields keep their defaults.
VitConfig named_vit(std::string_view size);
const std::vector<std::string>& vit_size_names();

// Throws Error naming the fields that contradict each other (side not divisible by patch, width by heads, ...).
void validate(const VitConfig& config);

class VitImpl : public torch::nn::Module {
 public:
  explicit VitImpl(const VitConfig& config);

  // Patch embeddings without positions. images [B,3,S,S] -> [B,N,D], raster order.
  at::Tensor patches(const at::Tensor& images);

  // Adds positions, prepends the class token, applies the blocks and the final norm -> [B,1+T,D]. `rows` [B*T] are flat
  // indices into [B*N] (equal count per sample, ascending within one); undefined means all patches.
  // Only the patches named are embedded at all.
  at::Tensor encode(const at::Tensor& images, const at::Tensor& rows = {}, PathDrop* drop = nullptr);

  // The same without the final norm, calling `tap(block, tokens)` after each block (-1: the input of the first one).
  using Tap = std::function<void(int64_t block, const at::Tensor& tokens)>;
  at::Tensor run_blocks(const at::Tensor& images, const at::Tensor& rows, PathDrop* drop, const Tap& tap);

  const VitConfig& config() const { return config_; }

  Linear patch_embed;    // weight [D, 3*P*P]: the convolution of stride P, flattened (channel, row, column)
  at::Tensor cls_token;  // [1,1,D]
  at::Tensor pos_embed;  // [1,1+N,D]; a buffer when fixed, a parameter when learned
  LayerNorm norm_pre{nullptr};
  torch::nn::ModuleList blocks;
  LayerNorm norm;

 private:
  at::Tensor embed(const at::Tensor& images, const at::Tensor& rows);

  VitConfig config_;
};
TORCH_MODULE(Vit);

// images [B,3,S,S] -> [B,N,3*P*P], each row one patch in (channel, row, column) order.
at::Tensor unfold_patches(const at::Tensor& images, int64_t patch_side);

// Rows of x [B,N,X] by flat index [B*T] -> [B,T,X].
at::Tensor pick_rows(const at::Tensor& x, const at::Tensor& rows);

}  // namespace lacuna
