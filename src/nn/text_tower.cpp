#include "nn/text_tower.h"

#include <cmath>

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

                                        .causal = c.causal}));
  }
}

at::Tensor TextTowerImpl::end_places(const at::Tensor& ids) const {
  return config_.pool_at_largest_id ? ids.argmax(1) : ids.eq(config_.end_id).to(at::kInt).argmax(1);
}

at::Tensor TextTowerImpl::embed(const at::Tensor& ids) {
  expect_shape(ids, {kAny, config_.context}, "token ids");
  return at::embedding(token_embedding, ids) + pos_embed;
}

at::Tensor TextTowerImpl::encode(at::Tensor x, const at::Tensor& end) {
  const at::Tensor bias = config_.causal ? at::Tensor() : keys_up_to(end, config_.context, x.options());
  for (const auto& block : *blocks) x = block->as<BlockImpl>()->forward(x, 0, nullptr, bias);
  return norm(x);
}

at::Tensor TextTowerImpl::tokens(const at::Tensor& ids) { return encode(embed(ids), end_places(ids)); }

at::Tensor TextTowerImpl::forward(const at::Tensor& ids) {
  const at::Tensor end = end_places(ids);
  const at::Tensor x = encode(embed(ids), end);
  const at::Tensor rows = end + at::arange(ids.size(0), end.options()) * config_.context;
  return x.reshape({-1, config_.width}).index_select(0, rows);
}

at::Tensor keys_up_to(const at::Tensor& end, int64_t context, const at::TensorOptions& options) {
  const at::Tensor later = at::arange(context, end.options()).unsqueeze(0).gt(end.unsqueeze(1));  // [B,C]
  return at::zeros(later.sizes(), options).masked_fill(later, -INFINITY).view({-1, 1, 1, context});
}

}  // namespace lacuna
