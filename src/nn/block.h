#pragma once
// The pre-norm transformer block of every tower: x += ls1 attn(norm1 x); x += ls2 mlp(norm2 x). `bias` is added to the
// attention's scores (see attend), `rotation` turns its queries and keys (nn/rotary).

#include <optional>

#include "nn/attention.h"
#include "nn/path_drop.h"

namespace lacuna {

struct BlockConfig {
  int64_t width = 0;
  int64_t heads = 0;
  int64_t hidden = 0;  // width of the MLP
  Activation activation = Activation::kGelu;
  QkvBias qkv_bias = QkvBias::kAll;
  std::optional<double> layer_scale;  // initial value; none means no layer scale
  double norm_eps = 1e-6;
  bool causal = false;
  bool attention_norm = false;  // see SelfAttention
  bool mlp_norm = false;        // see Mlp
};

class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(const BlockConfig& config);
  // [B,T,D] -> [B,T,D]
  at::Tensor forward(const at::Tensor& x, double drop_rate = 0, PathDrop* drop = nullptr, const at::Tensor& bias = {},
                     const at::Tensor& rotation = {});

  LayerNorm norm1;
  SelfAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  LayerScale ls1{nullptr}, ls2{nullptr};  // null without layer scale
};
TORCH_MODULE(Block);

}  // namespace lacuna
