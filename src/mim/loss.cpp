#include "mim/loss.h"

#include "base/error.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

constexpr double kNormEps = 1e-6;       // layer norm of targets
constexpr double kLengthFloor = 1e-12;  // a zero token stays zero instead of becoming NaN

at::Tensor unit(const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true).clamp_min(kLengthFloor); }

// The reference normalises the prediction and then uses a cosine loss that guards the squared lengths with 1e-12; both
// are kept, so that losses agree beyond the twelfth digit (golden/cae README).
at::Tensor cosine_loss(const at::Tensor& prediction, const at::Tensor& target) {
  const at::Tensor p = unit(prediction);
  const at::Tensor lengths = at::sqrt((p.square().sum(-1) + kLengthFloor) * (target.square().sum(-1) + kLengthFloor));
  return 1 - (p * target).sum(-1) / lengths;
}

at::Tensor at_least_float(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

}  // namespace

void LossConfig::fields(Fields& f) {
  f.add("kind", kind, kLossKinds, {.help = "distance of prediction and target"});
  f.add("beta", beta, {.help = "where smooth_l1 turns linear", .min = 0, .above_min = true});
}

at::Tensor normalize(const at::Tensor& target, NormalizeKind kind) {
  const at::Tensor x = at_least_float(target);
  switch (kind) {
    case NormalizeKind::kKeep:
      return x;
    case NormalizeKind::kUnit:
      return unit(x);
    case NormalizeKind::kLayerNorm:
      return at::layer_norm(x, {x.size(-1)}, {}, {}, kNormEps);
  }
  return x;
}

at::Tensor token_loss(const at::Tensor& prediction_in, const at::Tensor& target_in, const LossConfig& config) {
  invariant(prediction_in.dim() == 3 && prediction_in.sizes() == target_in.sizes(), "loss: prediction ",
            shape_text(prediction_in), " and target ", shape_text(target_in), " are not about the same tokens");
  const at::Tensor prediction = at_least_float(prediction_in), target = at_least_float(target_in);
  switch (config.kind) {
    case LossKind::kCosine:
      return cosine_loss(prediction, target);
    case LossKind::kL2:
      return (prediction - target).square().mean(-1);
    case LossKind::kL1:
      return (prediction - target).abs().mean(-1);
    case LossKind::kSmoothL1:
      return at::smooth_l1_loss(prediction, target, at::Reduction::None, config.beta).mean(-1);
  }
  return {};
}

}  // namespace lacuna
