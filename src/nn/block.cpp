#include "nn/block.h"

namespace lacuna {

BlockImpl::BlockImpl(const BlockConfig& c)
    : norm1(register_module("norm1", LayerNorm(c.width, c.norm_eps))),
      attn(register_module("attn", SelfAttention(c.width, c.heads, c.qkv_bias, c.causal))),
      norm2(register_module("norm2", LayerNorm(c.width, c.norm_eps))),
      mlp(register_module("mlp", Mlp(c.width, c.hidden, c.activation))) {
  if (!c.layer_scale) return;
  ls1 = register_module("ls1", LayerScale(c.width, *c.layer_scale));
  ls2 = register_module("ls2", LayerScale(c.width, *c.layer_scale));
}

at::Tensor BlockImpl::forward(const at::Tensor& x, double drop_rate, PathDrop* drop, const at::Tensor& bias) {
  at::Tensor branch = attn(norm1(x), bias);
  const at::Tensor middle = add_branch(x, ls1 ? ls1(branch) : branch, drop_rate, drop);
  branch = mlp(norm2(middle));
  return add_branch(middle, ls2 ? ls2(branch) : branch, drop_rate, drop);
}

}  // namespace lacuna
