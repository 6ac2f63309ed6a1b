#include "mim/regressor.h"

#include "base/error.h"
#include "nn/position.h"
#include "nn/vit.h"

namespace lacuna {
namespace {

constexpr double kNormEps = 1e-6;
constexpr int64_t kMlpRatio = 4;

}  // namespace

RegressorBlockImpl::RegressorBlockImpl(int64_t width, int64_t heads, std::optional<double> layer_scale, double eps)
    : norm_q(register_module("norm_q", LayerNorm(width, eps))),
      norm_k(register_module("norm_k", LayerNorm(width, eps))),
      norm_v(register_module("norm_v", LayerNorm(width, eps))),
      attn(register_module("attn", CrossAttention(width, heads))),
      norm2(register_module("norm2", LayerNorm(width, eps))),
      mlp(register_module("mlp", Mlp(width, kMlpRatio * width, Activation::kGelu))) {
  if (!layer_scale) return;
  ls1 = register_module("ls1", LayerScale(width, *layer_scale));
  ls2 = register_module("ls2", LayerScale(width, *layer_scale));
}

at::Tensor RegressorBlockImpl::forward(const at::Tensor& query, const at::Tensor& context,
                                       const at::Tensor& query_positions, const at::Tensor& context_positions,
                                       double drop_rate, PathDrop* drop) {
  at::Tensor branch = attn(norm_q(query + query_positions), norm_k(context + context_positions), norm_v(context));
  const at::Tensor stream = norm2(add_branch(query, ls1 ? ls1(branch) : branch, drop_rate, drop));
  branch = mlp(stream);
  return add_branch(stream, ls2 ? ls2(branch) : branch, drop_rate, drop);
}

Regressor::Regressor(const CompleterConfig& c, int64_t grid, int64_t encoder_width)
    : blocks(register_module("blocks", torch::nn::ModuleList())),
      norm(register_module("norm", LayerNorm(c.width.value_or(encoder_width), kNormEps))),
      config_(c),
      width_(c.width.value_or(encoder_width)) {
  mask_token = register_parameter("mask_token", torch::empty({1, 1, width_}));
  if (width_ != encoder_width) {
    adapter = register_module("adapter", Linear(encoder_width, width_));
    adapter_norm = register_module("adapter_norm", LayerNorm(width_, kNormEps));
  }
  for (int64_t i = 0; i < c.depth; ++i) blocks->push_back(RegressorBlock(width_, c.heads, c.layer_scale, kNormEps));
  positions_ = register_buffer("positions", sin_cos_positions(grid, width_)[0].slice(0, 1).contiguous());
}

at::Tensor Regressor::adapt(const at::Tensor& latents) { return adapter ? adapter_norm(adapter(latents)) : latents; }

Tokens Regressor::complete(const Tokens& encoded, const MaskPlan& plan, bool with_masked, PathDrop* drop) {
  // Class and visible latents share one pass through the adapter.
  const at::Tensor latents = adapt(at::cat({encoded.cls, encoded.visible}, 1));
  Tokens out{.cls = latents.slice(1, 0, 1), .visible = latents.slice(1, 1), .masked = {}};
  if (with_masked) out.masked = regress(out.visible, plan, drop);
  return out;
}

at::Tensor Regressor::regress(const at::Tensor& visible, const MaskPlan& plan, PathDrop* drop) {
  const at::Tensor grid = positions_.expand({plan.batch, plan.patches, width_});
  const at::Tensor query_positions = plan.pick_masked(grid);                                    // [B,M,D_r]
  const at::Tensor context_positions = at::cat({plan.pick_visible(grid), query_positions}, 1);  // [B,V+M,D_r]
  at::Tensor query = mask_token.to(visible.scalar_type()).expand({plan.batch, plan.masked_count(), width_});
  for (int64_t i = 0; i < config_.depth; ++i) {
    const at::Tensor context = at::cat({visible, query}, 1);
    query = blocks->ptr<RegressorBlockImpl>(static_cast<size_t>(i))
                ->forward(query, context, query_positions, context_positions,
                          path_drop_rate(config_.drop_path, i, config_.depth), drop);
  }
  return config_.final_norm ? norm(query) : query;
}

}  // namespace lacuna
