#pragma once
// Filling in what the encoder was not shown. CAE's latent contextual regressor: queries are mask tokens, keys and
// values are the visible latents together with the current masked tokens; the visible latents are never changed and the
// class token is not looked at (cae.md section 1.5).

#include <optional>

#include "mim/tokens.h"
#include "nn/block.h"

namespace lacuna {

enum class CompleterKind { kNone, kRegressor };
inline constexpr Named<CompleterKind> kCompleterKinds[] = {
    {CompleterKind::kNone, "none", "masked patches are never predicted"},
    {CompleterKind::kRegressor, "regressor", "CAE's cross-attention from mask tokens to visible latents"}};

struct CompleterConfig {
  CompleterKind kind = CompleterKind::kNone;
  int64_t depth = 4;
  std::optional<int64_t> width;
  int64_t heads = 12;
  double layer_scale = 0.1;
  double drop_path = 0.1;
  bool final_norm = true;

  void fields(Fields& f);
};

// Hybrid norm: after the attention residual the stream itself is replaced by its norm, and the MLP residual is added to
// that.
class RegressorBlockImpl : public torch::nn::Module {
 public:
  RegressorBlockImpl(int64_t width, int64_t heads, double layer_scale, double norm_eps);
  // query [B,M,D], context [B,V+M,D] and their positions -> [B,M,D]
  at::Tensor forward(const at::Tensor& query, const at::Tensor& context, const at::Tensor& query_positions,
                     const at::Tensor& context_positions, double drop_rate, PathDrop* drop);

  LayerNorm norm_q, norm_k, norm_v;
  CrossAttention attn;
  LayerScale ls1;
  LayerNorm norm2;
  Mlp mlp;
  LayerScale ls2;
};
TORCH_MODULE(RegressorBlock);

class RegressorImpl : public torch::nn::Module {
 public:
  RegressorImpl(const CompleterConfig& config, int64_t grid, int64_t encoder_width);

  // Brings class and visible latents to the regressor's width D_r; the identity when it equals the encoder's.
  at::Tensor adapt(const at::Tensor& latents);
  // Visible latents [B,V,D_r] (adapted) -> masked latents [B,M,D_r].
  at::Tensor forward(const at::Tensor& visible, const MaskPlan& plan, PathDrop* drop);

  int64_t width() const { return width_; }

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
TORCH_MODULE(Regressor);

}  // namespace lacuna
