#include "mim/decoder.h"

#include "base/error.h"
#include "nn/position.h"

namespace lacuna {
namespace {

constexpr double kNormEps = 1e-6;
constexpr int64_t kMlpRatio = 4;

}  // namespace

GridCompleter::GridCompleter(const CompleterConfig& c, int64_t grid, int64_t encoder_width, bool painted)
    : embed(register_module("embed", Linear(encoder_width, c.width.value_or(encoder_width)))),
      blocks(register_module("blocks", torch::nn::ModuleList())),
      config_(c),
      width_(c.width.value_or(encoder_width)) {
  if (!painted) mask_token = register_parameter("mask_token", torch::empty({1, 1, width_}));
  if (c.final_norm) norm = register_module("norm", LayerNorm(width_, kNormEps));
  positions_ = register_buffer("positions", sin_cos_positions(grid, width_, AxisOrder::kColumnFirst));
}

at::Tensor GridCompleter::fill_grid(const Tokens& encoded, const MaskPlan& plan) {
  const at::Tensor visible = embed(encoded.visible), cls = embed(encoded.cls);
  const at::Tensor masked = encoded.masked.defined()
                                ? embed(encoded.masked)
                                : mask_token.to(visible.scalar_type()).expand({1, plan.masked.size(0), width_});
  return merge_tokens({.cls = cls, .visible = visible, .masked = masked}, plan) + positions_;
}

Decoder::Decoder(const CompleterConfig& c, int64_t grid, int64_t encoder_width, bool painted)
    : GridCompleter(c, grid, encoder_width, painted) {
  for (int64_t i = 0; i < c.depth; ++i)
    blocks->push_back(Block(BlockConfig{.width = width(),
                                        .heads = c.heads,
                                        .hidden = kMlpRatio * width(),
                                        .layer_scale = c.layer_scale,
                                        .norm_eps = kNormEps}));
}

Tokens Decoder::complete(const Tokens& encoded, const MaskPlan& plan, bool /*with_masked*/, PathDrop* drop) {
  at::Tensor x = fill_grid(encoded, plan);
  for (int64_t i = 0; i < config().depth; ++i)
    x = blocks->ptr<BlockImpl>(static_cast<size_t>(i))
            ->forward(x, path_drop_rate(config().drop_path, i, config().depth), drop);
  return split_tokens(finish(x), plan);
}

PromptingBlockImpl::PromptingBlockImpl(int64_t width, int64_t heads, double eps)
    : norm1(register_module("norm1", LayerNorm(width, eps))),
      q(register_module("q", Linear(width, width))),
      kv(register_module("kv", Linear(width, 2 * width))),
      proj(register_module("proj", Linear(width, width))),
      norm2(register_module("norm2", LayerNorm(width, eps))),
      mlp(register_module("mlp", Mlp(width, kMlpRatio * width, Activation::kGelu))),
      heads_(heads) {}

at::Tensor PromptingBlockImpl::forward(const at::Tensor& masked, const at::Tensor& fixed, double drop_rate,
                                       PathDrop* drop) {
  const at::Tensor query = norm1(masked);
  const auto key_value = kv(at::cat({fixed, query}, 1)).chunk(2, -1);
  const at::Tensor attended = proj(attend(q(query), key_value[0], key_value[1], heads_));
  const at::Tensor middle = add_branch(masked, attended, drop_rate, drop);
  return add_branch(middle, mlp(norm2(middle)), drop_rate, drop);
}

PromptingDecoder::PromptingDecoder(const CompleterConfig& c, int64_t grid, int64_t encoder_width)
    : GridCompleter(c, grid, encoder_width, /*painted=*/false) {
  check(!c.layer_scale, "completer.layer_scale: a prompting decoder has none; leave it auto");
  for (int64_t i = 0; i < c.depth; ++i) blocks->push_back(PromptingBlock(width(), c.heads, kNormEps));
}

Tokens PromptingDecoder::complete(const Tokens& encoded, const MaskPlan& plan, bool /*with_masked*/, PathDrop* drop) {
  const Tokens start = split_tokens(fill_grid(encoded, plan), plan);
  const at::Tensor fixed = at::cat({start.cls, start.visible}, 1);  // [B,1+V,W]
  at::Tensor masked = start.masked;                                 // [B,M,W]
  for (int64_t i = 0; i < config().depth; ++i)
    masked = blocks->ptr<PromptingBlockImpl>(static_cast<size_t>(i))
                 ->forward(masked, fixed, path_drop_rate(config().drop_path, i, config().depth), drop);
  return {.cls = finish(start.cls), .visible = finish(start.visible), .masked = finish(masked)};
}

}  // namespace lacuna
