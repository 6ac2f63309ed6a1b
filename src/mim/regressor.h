#pragma once
// CAE's latent contextual regressor: queries are mask tokens, keys and values are the visible latents together with the
// current masked tokens; the visible latents are never changed and the class token is not looked at (cae.md section
// 1.5).

#include "mim/completer.h"
#include "nn/block.h"

namespace lacuna {

// Hybrid norm: after the attention residual the stream itself is replaced by its norm, and the MLP residual is added to
// that.
class RegressorBlockImpl : public torch::nn::Module {
 public:
  RegressorBlockImpl(int64_t width, int64_t heads, std::optional<double> layer_scale, double norm_eps);
  // query [B,M,D], context [B,V+M,D] and their positions -> [B,M,D]
  at::Tensor forward(const at::Tensor& query, const at::Tensor& context, const at::Tensor& query_positions,
                     const at::Tensor& context_positions, double drop_rate, PathDrop* drop);

  LayerNorm norm_q, norm_k, norm_v;
  CrossAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  LayerScale ls1{nullptr}, ls2{nullptr};  // null without layer scale
};
TORCH_MODULE(RegressorBlock);

class Regressor : public Completer {
 public:
  Regressor(const CompleterConfig& config, int64_t grid, int64_t encoder_width);

  int64_t width() const override { return width_; }
  Tokens complete(const Tokens& encoded, const MaskPlan& plan, bool with_masked, PathDrop* drop) override;
  at::Tensor adapt(const at::Tensor& latents) override;
  bool adapts() const override { return !adapter.is_empty(); }

  // Visible latents [B,V,D_r] (adapted) -> masked latents [B,M,D_r].
  at::Tensor regress(const at::Tensor& visible, const MaskPlan& plan, PathDrop* drop);

  at::Tensor mask_token;  // [1,1,D_r]
  Linear adapter{nullptr};
  LayerNorm adapter_norm{nullptr};
  torch::nn::ModuleList blocks;
  LayerNorm norm;  // exists but takes no part when final_norm is off: it then gets no gradient

 private:
  CompleterConfig config_;
  int64_t width_;
  at::Tensor positions_;  // [N,D_r] buffer, fixed sine-cosine
};

}  // namespace lacuna
