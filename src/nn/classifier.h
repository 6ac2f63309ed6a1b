#pragma once
// A Vit with a pooled linear head, as classifiers of timm and transformers are built and as fine-tuning trains them.

#include "nn/vit.h"

namespace lacuna {

// What stands for the image: the class token, the mean of the patch tokens, or one learned query's attention to all
// tokens (SigLIP).
enum class Pool { kToken, kMean, kAttention };

struct ClassifierConfig {
  Pool pool = Pool::kToken;
  bool norm = false;    // a LayerNorm of the pooled features, usually in place of the Vit's final norm (BEiT, MAE)
  int64_t classes = 0;  // 0: no linear layer
};

// A learned query attends to the tokens; a residual MLP follows (SigLIP's multi-head attention pooling).
class AttentionPoolImpl : public torch::nn::Module {
 public:
  explicit AttentionPoolImpl(const VitConfig& vit);  // width, heads, hidden, activation and epsilon are the Vit's
  at::Tensor forward(const at::Tensor& tokens);      // [B,T,D] -> [B,D]

  at::Tensor probe;  // [1,1,D]
  Linear q, k, v, proj;
  LayerNorm norm;
  Mlp mlp;

 private:
  int64_t heads_;
};
TORCH_MODULE(AttentionPool);

class ClassifierImpl : public torch::nn::Module {
 public:
  ClassifierImpl(const VitConfig& vit, const ClassifierConfig& head);

  // Logits [B,K]; the pooled features [B,D] where there are no classes.
  at::Tensor forward(const at::Tensor& images, PathDrop* drop = nullptr);
  // What the linear layer sees, from the Vit's tokens [B,C+N,D] after its final norm, if it has one.
  at::Tensor pool(const at::Tensor& tokens);

  const ClassifierConfig& config() const { return config_; }

  Vit vit;
  AttentionPool attention_pool{nullptr};  // null unless Pool::kAttention
  LayerNorm fc_norm{nullptr};             // null without norm
  Linear head{nullptr};                   // null without classes

 private:
  ClassifierConfig config_;
};
TORCH_MODULE(Classifier);

}  // namespace lacuna
