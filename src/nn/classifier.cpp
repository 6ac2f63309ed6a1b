#include "nn/classifier.h"

#include "base/error.h"

namespace lacuna {

AttentionPoolImpl::AttentionPoolImpl(const VitConfig& c)
    : q(register_module("q", Linear(c.width, c.width))),
      k(register_module("k", Linear(c.width, c.width))),
      v(register_module("v", Linear(c.width, c.width))),
      proj(register_module("proj", Linear(c.width, c.width))),
      norm(register_module("norm", LayerNorm(c.width, c.norm_eps))),
      mlp(register_module("mlp", Mlp(c.width, c.hidden, c.activation))),
      heads_(c.heads) {
  probe = register_parameter("probe", torch::empty({1, 1, c.width}));
}

at::Tensor AttentionPoolImpl::forward(const at::Tensor& tokens) {
  const at::Tensor query = q(probe).expand({tokens.size(0), 1, -1});
  const at::Tensor pooled = proj(attend(query, k(tokens), v(tokens), heads_));  // [B,1,D]
  return (pooled + mlp(norm(pooled))).select(1, 0);
}

ClassifierImpl::ClassifierImpl(const VitConfig& c, const ClassifierConfig& head_config)
    : vit(register_module("vit", Vit(c))), config_(head_config) {
  check(c.class_token || config_.pool != Pool::kToken, "a network without class token cannot be pooled by it");
  if (config_.pool == Pool::kAttention) attention_pool = register_module("attention_pool", AttentionPool(c));
  if (config_.norm) fc_norm = register_module("fc_norm", LayerNorm(c.width, c.norm_eps));
  if (config_.classes > 0) head = register_module("head", Linear(c.width, config_.classes));
}

at::Tensor ClassifierImpl::pool(const at::Tensor& tokens) {
  at::Tensor pooled;
  switch (config_.pool) {
    case Pool::kToken:
      pooled = tokens.select(1, 0);
      break;
    case Pool::kMean:
      pooled = tokens.slice(1, vit->config().class_tokens()).mean(1);
      break;
    case Pool::kAttention:
      pooled = attention_pool(tokens);
      break;
  }
  return fc_norm ? fc_norm(pooled) : pooled;
}

at::Tensor ClassifierImpl::forward(const at::Tensor& images, PathDrop* drop) {
  const at::Tensor pooled = pool(vit->encode(images, {}, drop));
  return head ? head(pooled) : pooled;
}

}  // namespace lacuna
