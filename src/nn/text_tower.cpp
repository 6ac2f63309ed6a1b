#include "nn/text_tower.h"

#include "nn/shapes.h"

namespace lacuna {

TextTowerImpl::TextTowerImpl(const TextConfig& c)
    : blocks(register_module("blocks", torch::nn::ModuleList())),
      norm(register_module("norm", LayerNorm(c.width, c.norm_eps))),
      config_(c) {
  token_embedding = register_parameter("token_embedding", torch::empty({c.vocabulary, c.width}));
  pos_embed = register_parameter("pos_embed", torch::empty({c.context, c.width}));
  for (int64_t i = 0; i < c.depth; ++i) {
    blocks->push_back(Block(BlockConfig{.width = c.width,
                                        .heads = c.heads,
                                        .hidden = c.hidden,
                                        .activation = c.activation,
                                        .layer_scale = std::nullopt,
                                        .norm_eps = c.norm_eps,
                                        .causal = true}));
  }
}

at::Tensor TextTowerImpl::tokens(const at::Tensor& ids) {
  expect_shape(ids, {kAny, config_.context}, "token ids");
  at::Tensor x = at::embedding(token_embedding, ids) + pos_embed;  // [B,C,D]
  for (const auto& block : *blocks) x = block->as<BlockImpl>()->forward(x);
  return norm(x);
}

at::Tensor TextTowerImpl::forward(const at::Tensor& ids) {
  const at::Tensor x = tokens(ids);
  const at::Tensor end =
      config_.pool_at_largest_id ? ids.argmax(1) : ids.eq(config_.end_id).to(at::kInt).argmax(1);  // [B]
  const at::Tensor rows = end + at::arange(ids.size(0), end.options()) * config_.context;
  return x.reshape({-1, config_.width}).index_select(0, rows);
}

}  // namespace lacuna
