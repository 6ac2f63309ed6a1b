#pragma once
// Multi-head attention: self (one fused projection) and cross (three projections), over one kernel.

#include "nn/layers.h"

namespace lacuna {

// Which of the three projections have a bias. BEiT and CAE leave the key without one (softmax cancels it).
enum class QkvBias { kNone, kQueryValue, kAll };

// softmax(q k^T / sqrt(width / H)) v over heads split from the last dimension. q [B,Tq,D], k and v [B,Tk,D] ->
// [B,Tq,D]. With `causal` token t sees tokens 0..t.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal = false);

class SelfAttentionImpl : public torch::nn::Module {
 public:
  SelfAttentionImpl(int64_t width, int64_t heads, QkvBias bias, bool causal = false);
  at::Tensor forward(const at::Tensor& x);  // [B,T,D] -> [B,T,D]

  Linear qkv, proj;           // qkv.weight [3D,D], rows q, k, v
  at::Tensor q_bias, v_bias;  // [D], only for QkvBias::kQueryValue

 private:
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
