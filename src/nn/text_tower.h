#pragma once
// CLIP's text tower: token and position embeddings, causal pre-norm blocks, final norm, pooled at the end token.

#include "nn/block.h"

namespace lacuna {

struct TextConfig {
  int64_t vocabulary = 49408;
  int64_t context = 77;
  int64_t width = 512;
  int64_t depth = 12;
  int64_t heads = 8;
  int64_t hidden = 2048;
  Activation activation = Activation::kQuickGelu;
  double norm_eps = 1e-5;
  int64_t end_id = 49407;
  // Old configurations of transformers carry a wrong end id and pool at the largest id instead; with CLIP's vocabulary
  // the end token is the largest.
  bool pool_at_largest_id = false;
  bool causal = true;  // token t sees tokens 0..t; else every token up to the end token
};

class TextTowerImpl : public torch::nn::Module {
 public:
  explicit TextTowerImpl(const TextConfig& config);

  at::Tensor tokens(const at::Tensor& ids);   // [B,C] int64 -> [B,C,D], after the final norm
  at::Tensor forward(const at::Tensor& ids);  // -> [B,D], the end token's row

  // The same in pieces: embeddings with positions [B,C,D]; blocks and final norm over them, `end` [B] being the places
  // of the end tokens.
  at::Tensor embed(const at::Tensor& ids);
  at::Tensor encode(at::Tensor embedded, const at::Tensor& end);
  at::Tensor end_places(const at::Tensor& ids) const;  // [B]

  const TextConfig& config() const { return config_; }

  at::Tensor token_embedding;  // [vocabulary, D]
  at::Tensor pos_embed;        // [C, D]
  torch::nn::ModuleList blocks;
  LayerNorm norm;

 private:
  TextConfig config_;
};
TORCH_MODULE(TextTower);

// Added to attention scores so that no query sees keys after `end` [B]: [B,1,1,C], 0 or -infinity.
at::Tensor keys_up_to(const at::Tensor& end, int64_t context, const at::TensorOptions& options);

}  // namespace lacuna
