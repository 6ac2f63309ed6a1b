#include "mim/completer.h"

#include "base/error.h"
#include "nn/position.h"
#include "nn/vit.h"

namespace lacuna {
namespace {

constexpr double kNormEps = 1e-6;
constexpr int64_t kMlpRatio = 4;

}  // namespace

void CompleterConfig::fields(Fields& f) {
  f.add("kind", kind, kCompleterKinds, {.help = "how masked latents are made from visible ones"});
  f.add("depth", depth,
        {.help = "number of regressor blocks", .unit = "blocks", .min = 0, .max = 64, .aliases = {"regressor_depth"}});
  f.add("width", width,
        {.help = "width of the regressor; auto is the encoder's, another value adds an adapter",
         .unit = "channels",
         .min = 4,
         .aliases = {"adapter_width"}});
  f.add("heads", heads, {.help = "attention heads of the regressor", .min = 1});
  f.add("layer_scale", layer_scale, {.help = "initial layer scale of the regressor", .min = 0, .above_min = true});
  f.add("drop_path", drop_path,
        {.help = "largest stochastic depth rate of the regressor", .min = 0, .max = 1, .below_max = true});
  f.add("final_norm", final_norm,
        {.help = "normalise the regressor's output (CAE does, CAE v2 leaves it to the head)"});
}

RegressorBlockImpl::RegressorBlockImpl(int64_t width, int64_t heads, double layer_scale, double eps)
    : norm_q(register_module("norm_q", LayerNorm(width, eps))),
      norm_k(register_module("norm_k", LayerNorm(width, eps))),
      norm_v(register_module("norm_v", LayerNorm(width, eps))),
      attn(register_module("attn", CrossAttention(width, heads))),
      ls1(register_module("ls1", LayerScale(width, layer_scale))),
      norm2(register_module("norm2", LayerNorm(width, eps))),
      mlp(register_module("mlp", Mlp(width, kMlpRatio * width, Activation::kGelu))),
      ls2(register_module("ls2", LayerScale(width, layer_scale))) {}

at::Tensor RegressorBlockImpl::forward(const at::Tensor& query, const at::Tensor& context,
                                       const at::Tensor& query_positions, const at::Tensor& context_positions,
                                       double drop_rate, PathDrop* drop) {
  const at::Tensor attended =
      attn(norm_q(query + query_positions), norm_k(context + context_positions), norm_v(context));
  const at::Tensor stream = norm2(add_branch(query, ls1(attended), drop_rate, drop));
  return add_branch(stream, ls2(mlp(stream)), drop_rate, drop);
}

RegressorImpl::RegressorImpl(const CompleterConfig& c, int64_t grid, int64_t encoder_width)
    : blocks(register_module("blocks", torch::nn::ModuleList())),
      norm(register_module("norm", LayerNorm(c.width.value_or(encoder_width), kNormEps))),
      config_(c),
      width_(c.width.value_or(encoder_width)) {
  check(width_ % c.heads == 0, "completer: width ", width_, " is not divisible into ", c.heads,
        " heads; set completer.heads or completer.width");
  mask_token = register_parameter("mask_token", torch::empty({1, 1, width_}));
  if (width_ != encoder_width) {
    adapter = register_module("adapter", Linear(encoder_width, width_));
    adapter_norm = register_module("adapter_norm", LayerNorm(width_, kNormEps));
  }
  for (int64_t i = 0; i < c.depth; ++i) blocks->push_back(RegressorBlock(width_, c.heads, c.layer_scale, kNormEps));
  positions_ = register_buffer("positions", sin_cos_positions(grid, width_)[0].slice(0, 1).contiguous());
}

at::Tensor RegressorImpl::adapt(const at::Tensor& latents) {
  return adapter ? adapter_norm(adapter(latents)) : latents;
}

at::Tensor RegressorImpl::forward(const at::Tensor& visible, const MaskPlan& plan, PathDrop* drop) {
  const at::Tensor grid = positions_.expand({plan.batch, plan.patches, width_});
  const at::Tensor query_positions = pick_rows(grid, plan.masked);                                    // [B,M,D_r]
  const at::Tensor context_positions = at::cat({pick_rows(grid, plan.visible), query_positions}, 1);  // [B,V+M,D_r]
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
