#pragma once
// Multi-head attention: self (one fused projection) and cross (three projections), over one kernel.

#include <vector>

#include "nn/layers.h"

namespace lacuna {

// Which of the three projections have a bias. BEiT and CAE leave the key without one (softmax cancels it).
enum class QkvBias { kNone, kQueryValue, kAll };

// softmax(q k^T / sqrt(width / H) + bias) v over heads split from the last dimension. q [B,Tq,D], k and v [B,Tk,D] ->
// [B,Tq,D]. `bias` broadcasts to [B,H,Tq,Tk]; undefined adds nothing. With `causal` token t sees tokens 0..t.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal = false,
                  const at::Tensor& bias = {});

// The same, but only the probabilities of one query: softmax of row `token`, [B,H,Tk].
at::Tensor attention_row(const at::Tensor& q, const at::Tensor& k, int64_t heads, int64_t token,
                         const at::Tensor& bias = {});

class SelfAttentionImpl : public torch::nn::Module {
 public:
  // With `norm_eps` a LayerNorm stands between the heads' outputs and the output projection (EVA-02's sub-LN).
  SelfAttentionImpl(int64_t width, int64_t heads, QkvBias bias, bool causal = false,
                    std::optional<double> norm_eps = {});
  // [B,T,D] -> [B,T,D]. Queries and keys are turned by `rotation` (nn/rotary) where it is defined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& bias = {}, const at::Tensor& rotation = {});
  at::Tensor probabilities(const at::Tensor& x, int64_t token, const at::Tensor& bias = {},
                           const at::Tensor& rotation = {});  // [B,H,T]

  Linear qkv, proj;           // qkv.weight [3D,D], rows q, k, v
  at::Tensor q_bias, v_bias;  // [D], only for QkvBias::kQueryValue
  LayerNorm norm{nullptr};    // null without it

 private:
  std::vector<at::Tensor> project(const at::Tensor& x, const at::Tensor& rotation);  // q, k, v, each [B,T,D]

  int64_t heads_;
  bool causal_;
};
TORCH_MODULE(SelfAttention);

class CrossAttentionImpl : public torch::nn::Module {
 public:
  CrossAttentionImpl(int64_t width, int64_t heads);
  at::Tensor forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

  Linear q, k, v, proj;       // q, k, v without bias of their own
  at::Tensor q_bias, v_bias;  // [D]

 private:
  int64_t heads_;
};
TORCH_MODULE(CrossAttention);

}  // namespace lacuna
