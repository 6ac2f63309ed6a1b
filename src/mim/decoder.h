#pragma once
// Completers that work on the whole grid at a width of their own: MAE's decoder and MILAN's variant of it.

#include "mim/completer.h"
#include "nn/block.h"

namespace lacuna {

// What both share: the change of width, mask tokens, fixed positions (column first, as MAE's) and the final norm. The
// class token takes part.
class GridCompleter : public Completer {
 public:
  GridCompleter(const CompleterConfig& config, int64_t grid, int64_t encoder_width, bool painted);

  int64_t width() const override { return width_; }

  Linear embed;           // encoder's width -> W
  at::Tensor mask_token;  // [1,1,W]; undefined when the encoder painted the masked patches itself
  torch::nn::ModuleList blocks;
  LayerNorm norm{nullptr};  // null without final_norm

 protected:
  // Class token, visible patches and mask tokens (or painted patches) in raster order, positions added: [B,1+N,W].
  at::Tensor fill_grid(const Tokens& encoded, const MaskPlan& plan);
  at::Tensor finish(const at::Tensor& grid) { return norm ? norm(grid) : grid; }
  const CompleterConfig& config() const { return config_; }

 private:
  CompleterConfig config_;
  int64_t width_;
  at::Tensor positions_;  // [1,1+N,W] buffer
};

// He et al., 2021: self-attention over everything.
class Decoder : public GridCompleter {
 public:
  Decoder(const CompleterConfig& config, int64_t grid, int64_t encoder_width, bool painted = false);
  Tokens complete(const Tokens& encoded, const MaskPlan& plan, bool with_masked, PathDrop* drop) override;
};

// Hou et al., 2022 (MILAN): only mask tokens are updated; they attend to themselves and to class and visible latents,
// which enter keys and values as they are, without the block's first norm.
class PromptingBlockImpl : public torch::nn::Module {
 public:
  PromptingBlockImpl(int64_t width, int64_t heads, double norm_eps);
  at::Tensor forward(const at::Tensor& masked, const at::Tensor& fixed, double drop_rate, PathDrop* drop);

  LayerNorm norm1;
  Linear q, kv, proj;  // kv.weight [2W,W], rows k, v
  LayerNorm norm2;
  Mlp mlp;

 private:
  int64_t heads_;
};
TORCH_MODULE(PromptingBlock);

class PromptingDecoder : public GridCompleter {
 public:
  PromptingDecoder(const CompleterConfig& config, int64_t grid, int64_t encoder_width);
  Tokens complete(const Tokens& encoded, const MaskPlan& plan, bool with_masked, PathDrop* drop) override;
};

}  // namespace lacuna
