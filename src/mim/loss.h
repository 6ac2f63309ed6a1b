#pragma once
// Where prediction and target meet: both are [B,R,K] about the same tokens, and a loss is a number per token, [B,R], in
// float32 or wider. Normalisations shape a target (and, for the cosine, a prediction) before that. Plain functions: no
// mask, no weights, no state.

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

enum class NormalizeKind { kKeep, kUnit, kLayerNorm };
inline constexpr Named<NormalizeKind> kNormalizeKinds[] = {
    {NormalizeKind::kKeep, "keep", "as the teacher gives it"},
    {NormalizeKind::kUnit, "unit", "unit length per token"},
    {NormalizeKind::kLayerNorm, "layer_norm", "zero mean and unit variance per token, without affine"}};

enum class LossKind { kCosine, kL2, kL1, kSmoothL1 };
inline constexpr Named<LossKind> kLossKinds[] = {
    {LossKind::kCosine, "cosine", "1 - cosine of prediction and target"},
    {LossKind::kL2, "l2", "mean squared error over channels"},
    {LossKind::kL1, "l1", "mean absolute error over channels"},
    {LossKind::kSmoothL1, "smooth_l1", "quadratic below beta, linear above"}};

struct LossConfig {
  LossKind kind = LossKind::kCosine;
  double beta = 1.0;

  void fields(Fields& f);
};

at::Tensor normalize(const at::Tensor& target, NormalizeKind kind);  // [...,K] -> [...,K]

// Throws std::logic_error unless the shapes agree (LibTorch would broadcast silently).
at::Tensor token_loss(const at::Tensor& prediction, const at::Tensor& target, const LossConfig& config);

}  // namespace lacuna
