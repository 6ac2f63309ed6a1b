#pragma once
// Where prediction and target meet: both are [B,R,K] about the same tokens (a target of classes is [B,R,1] int64), and
// a loss is a number per token, [B,R], in float32 or wider. Plain functions: no mask, no weights, no state.

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

enum class LossKind { kCosine, kNegativeCosine, kL2, kL1, kSmoothL1, kCrossEntropy, kSoftCrossEntropy, kInfoNce };
inline constexpr Named<LossKind> kLossKinds[] = {
    {LossKind::kCosine, "cosine", "1 - cosine of prediction and target"},
    {LossKind::kNegativeCosine, "negative_cosine", "- cosine; the same gradient"},
    {LossKind::kL2, "l2", "mean squared error over channels"},
    {LossKind::kL1, "l1", "mean absolute error over channels"},
    {LossKind::kSmoothL1, "smooth_l1", "quadratic below beta, linear above"},
    {LossKind::kCrossEntropy, "cross_entropy", "against a tokenizer's class"},
    {LossKind::kSoftCrossEntropy, "soft_cross_entropy", "against probabilities"},
    {LossKind::kInfoNce, "info_nce", "each token against the image's other tokens"}};

// What a loss needs its target to be.
enum class TargetForm { kFeatures, kClasses, kProbabilities };
TargetForm target_form(LossKind kind);

struct LossConfig {
  LossKind kind = LossKind::kCosine;
  double beta = 1.0;
  double temperature = 0.1;

  void fields(Fields& f);
};

// Throws std::logic_error unless the shapes agree (LibTorch would broadcast silently).
at::Tensor token_loss(const at::Tensor& prediction, const at::Tensor& target, const LossConfig& config);

}  // namespace lacuna
