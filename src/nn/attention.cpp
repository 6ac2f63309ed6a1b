#include "nn/attention.h"

#include <cmath>

#include "base/error.h"
#include "nn/rotary.h"

namespace lacuna {
namespace {

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {  // [B,T,D] -> [B,H,T,D/H]
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) { return x.transpose(1, 2).flatten(2); }  // [B,H,T,d] -> [B,T,H*d]

// LibTorch's fused attention for CPUs is the fastest form, but its backward pass in bf16 takes three to five times as
// long as that of plain products and softmax (docs/benchmarks.md).
bool fused_is_slow(const at::Tensor& q) {
  return q.device().is_cpu() && q.scalar_type() == at::kBFloat16 && at::GradMode::is_enabled() && q.requires_grad();
}

// q [B,H,Tq,d], k [B,H,Tk,d] -> [B,H,Tq,Tk]
at::Tensor scores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& bias) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(3)));
  const at::Tensor s = at::matmul(q * scale, k.transpose(2, 3));
  return bias.defined() ? s + bias : s;
}

void check_heads(int64_t width, int64_t heads) {
  check(heads > 0 && width % heads == 0, "attention: width ", width, " is not divisible into ", heads, " heads");
}

}  // namespace

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal,
                  const at::Tensor& bias) {
  const at::Tensor q_BHTd = split_heads(q, heads), k_BHTd = split_heads(k, heads), v_BHTd = split_heads(v, heads);
  const bool plain =
      fused_is_slow(q) || (bias.defined() && bias.requires_grad());  // a bias with gradient has no fused form
  if (!causal && plain) return merge_heads(at::matmul(at::softmax(scores(q_BHTd, k_BHTd, bias), -1), v_BHTd));
  const std::optional<at::Tensor> mask = bias.defined() ? std::optional(bias.to(q.scalar_type())) : std::nullopt;
  invariant(!causal || !mask, "attention cannot be causal and biased at once");
  return merge_heads(at::scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, mask, 0.0, causal));
}

at::Tensor attention_row(const at::Tensor& q, const at::Tensor& k, int64_t heads, int64_t token,
                         const at::Tensor& bias) {
  const at::Tensor row = split_heads(q, heads).slice(2, token, token + 1);
  const at::Tensor own = bias.defined() ? bias.slice(2, token, token + 1) : bias;
  return at::softmax(scores(row, split_heads(k, heads), own), -1).squeeze(2);
}

SelfAttentionImpl::SelfAttentionImpl(int64_t width, int64_t heads, QkvBias bias, bool causal,
                                     std::optional<double> norm_eps)
    : qkv(register_module("qkv", Linear(width, 3 * width, bias == QkvBias::kAll))),
      proj(register_module("proj", Linear(width, width))),
      heads_(heads),
      causal_(causal) {
  check_heads(width, heads);
  if (norm_eps) norm = register_module("norm", LayerNorm(width, *norm_eps));
  if (bias != QkvBias::kQueryValue) return;
  q_bias = register_parameter("q_bias", torch::empty({width}));
  v_bias = register_parameter("v_bias", torch::empty({width}));
}

std::vector<at::Tensor> SelfAttentionImpl::project(const at::Tensor& x, const at::Tensor& rotation) {
  const at::Tensor offset = q_bias.defined() ? at::cat({q_bias, at::zeros_like(v_bias), v_bias}) : qkv->bias;
  std::vector<at::Tensor> parts = at::linear(x, qkv->weight, offset).chunk(3, -1);
  if (rotation.defined()) {
    for (size_t i = 0; i < 2; ++i) parts[i] = rotated(parts[i], heads_, rotation);
  }
  return parts;
}

at::Tensor SelfAttentionImpl::forward(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& rotation) {
  const auto qkv_parts = project(x, rotation);
  const at::Tensor heads_out = attend(qkv_parts[0], qkv_parts[1], qkv_parts[2], heads_, causal_, bias);
  return proj(norm ? norm(heads_out) : heads_out);
}

at::Tensor SelfAttentionImpl::probabilities(const at::Tensor& x, int64_t token, const at::Tensor& bias,
                                            const at::Tensor& rotation) {
  const auto qkv_parts = project(x, rotation);
  return attention_row(qkv_parts[0], qkv_parts[1], heads_, token, bias);
}

CrossAttentionImpl::CrossAttentionImpl(int64_t width, int64_t heads)
    : q(register_module("q", Linear(width, width, false))),
      k(register_module("k", Linear(width, width, false))),
      v(register_module("v", Linear(width, width, false))),
      proj(register_module("proj", Linear(width, width))),
      heads_(heads) {
  check_heads(width, heads);
  q_bias = register_parameter("q_bias", torch::empty({width}));
  v_bias = register_parameter("v_bias", torch::empty({width}));
}

at::Tensor CrossAttentionImpl::forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  return proj(attend(at::linear(query, q->weight, q_bias), at::linear(key, k->weight),
                     at::linear(value, v->weight, v_bias), heads_));
}

}  // namespace lacuna
