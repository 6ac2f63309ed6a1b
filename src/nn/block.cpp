#include "nn/block.h"

namespace lacuna {
namespace {

std::optional<double> eps_if(bool wanted, double eps) { return wanted ? std::optional(eps) : std::nullopt; }

}  // namespace

BlockImpl::BlockImpl(const BlockConfig& c)
    : norm1(register_module("norm1", LayerNorm(c.width, c.norm_eps))),
      attn(register_module(
          "attn", SelfAttention(c.width, c.heads, c.qkv_bias, c.causal, eps_if(c.attention_norm, c.norm_eps)))),
      norm2(register_module("norm2", LayerNorm(c.width, c.norm_eps))),
      mlp(register_module("mlp", Mlp(c.width, c.hidden, c.activation, eps_if(c.mlp_norm, c.norm_eps)))) {
  if (!c.layer_scale) return;
  ls1 = register_module("ls1", LayerScale(c.width, *c.layer_scale));
  ls2 = register_module("ls2", LayerScale(c.width, *c.layer_scale));
}

at::Tensor BlockImpl::forward(const at::Tensor& x, double drop_rate, PathDrop* drop, const at::Tensor& bias,
                              const at::Tensor& rotation) {
  at::Tensor branch = attn(norm1(x), bias, rotation);
  const at::Tensor middle = add_branch(x, ls1 ? ls1(branch) : branch, drop_rate, drop);
  branch = mlp(norm2(middle));
  return add_branch(middle, ls2 ? ls2(branch) : branch, drop_rate, drop);
}

}  // namespace lacuna
