#pragma once
// The Vision Transformer: patches, positions, blocks, final norm. One config covers CAE's student, timm's ViT and
// CLIP's vision tower. It knows no masks: it encodes the rows it is given.

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "nn/block.h"
#include "nn/relative_bias.h"

namespace lacuna {

// Absolute positions, added to the patch embeddings. The two sine-cosine tables put the row or the column first.
enum class Positions { kNone, kSinCos, kSinCosColumns, kLearned };

// A bias on the attention scores by relative position: none, one table for all blocks, or one table each.
enum class RelativeBiasKind { kNone, kShared, kPerBlock };

struct VitConfig {
  int64_t channels = 3;  // of the images, I in the shapes below
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
  RelativeBiasKind relative_bias = RelativeBiasKind::kNone;
  bool patch_bias = true;
  bool pre_norm = false;  // a LayerNorm between embedding and first block, as CLIP has
  bool class_token = true;
  bool final_norm = true;  // none where a classifier normalises the pooled features instead
  int64_t registers = 0;   // learned tokens that take part in attention and are not handed out (Darcet et al., 2023)
  std::optional<int64_t> rotary_grid;  // rotary positions (nn/rotary), their reference grid; none without
  bool attention_norm = false;         // EVA-02's norm between attention and its output projection
  bool mlp_norm = false;               // EVA-02's norm before the second layer of the MLP
  double drop_path = 0;                // maximum rate, linear over depth

  int64_t grid() const { return image_side / patch_side; }
  int64_t patches() const { return grid() * grid(); }
  int64_t class_tokens() const { return class_token ? 1 : 0; }  // rows before the patches, C in the shapes below
};

// Width, depth, heads and hidden width by name: "tiny", "small", "base", "large", "huge" with timm's head counts (3, 6,
// 12, 16, 16), and "micro" (width 96, depth 4, 3 heads) for demos and tests. Other fields keep their defaults.
VitConfig named_vit(std::string_view size);
const std::vector<std::string>& vit_size_names();

BlockConfig block_config(const VitConfig& config);  // of each of its blocks

// Throws Error naming the fields that contradict each other (side not divisible by patch, width by heads, ...).
void validate(const VitConfig& config);

class VitImpl : public torch::nn::Module {
 public:
  explicit VitImpl(const VitConfig& config);

  // Patch embeddings without positions. images [B,I,S,S] -> [B,N,D], raster order.
  at::Tensor patches(const at::Tensor& images);

  // Adds positions, prepends the class token, applies the blocks and the final norm -> [B,C+T,D]. `rows` [B*T] are flat
  // indices into [B*N] (equal count per sample, ascending within one); undefined means all patches.
  // Only the patches named are embedded at all. Registers stand behind the patches on the way and are left out here.
  at::Tensor encode(const at::Tensor& images, const at::Tensor& rows = {}, PathDrop* drop = nullptr);

  // The same without the final norm, calling `tap(block, tokens)` after each block (-1: the input of the first one).
  using Tap = std::function<void(int64_t block, const at::Tensor& tokens)>;
  at::Tensor run_blocks(const at::Tensor& images, const at::Tensor& rows, PathDrop* drop, const Tap& tap);

  // From patch embeddings [B,T,D] (as `patches` makes them, or changed since) instead of images.
  at::Tensor run_patches(const at::Tensor& patch_tokens, const at::Tensor& rows, PathDrop* drop, const Tap& tap);

  // The final norm; x itself where the network has none.
  at::Tensor normalize(const at::Tensor& x) { return norm ? norm(x) : x; }

  // Bias of block `i` for these rows (see RelativeBias); undefined where the network has none.
  at::Tensor relative_bias(int64_t i, int64_t batch, const at::Tensor& rows = {});

  // Attention of the last block's class token to the patches, mean over heads: [B,N], sums to less than one. No
  // gradient. The blocks before it run as usual. For networks with a class token.
  at::Tensor class_attention(const at::Tensor& images);

  const VitConfig& config() const { return config_; }

  Linear patch_embed;    // weight [D, I*P*P]: the convolution of stride P, flattened (channel, row, column)
  at::Tensor cls_token;  // [1,1,D]; undefined without a class token
  at::Tensor reg_token;  // [1,registers,D]; undefined without registers
  at::Tensor pos_embed;  // [1,C+N,D]; a buffer when fixed, a parameter when learned, undefined when there is none
  LayerNorm norm_pre{nullptr};
  torch::nn::ModuleList blocks;
  torch::nn::ModuleList relative_biases;  // none, one shared by all blocks, or one each
  LayerNorm norm{nullptr};                // null without a final norm

 private:
  at::Tensor with_positions(const at::Tensor& patch_tokens, const at::Tensor& rows);  // [B,C+T+registers,D]
  at::Tensor rotation(int64_t batch, const at::Tensor& rows, const at::Tensor& like);
  // run_patches with the registers' rows in `tap` and in the result.
  at::Tensor run_all(const at::Tensor& patch_tokens, const at::Tensor& rows, PathDrop* drop, const Tap& tap);

  VitConfig config_;
  at::Tensor rotary_;  // rotary_table; neither a parameter nor a buffer: it is never cast, saved or averaged
};
TORCH_MODULE(Vit);

// images [B,3,S,S] -> [B,N,3*P*P], each row one patch in (channel, row, column) order.
at::Tensor unfold_patches(const at::Tensor& images, int64_t patch_side);

// Rows of x [B,N,X] by flat index [B*T] -> [B,T,X].
at::Tensor pick_rows(const at::Tensor& x, const at::Tensor& rows);

}  // namespace lacuna
