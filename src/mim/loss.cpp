#include "mim/loss.h"

#include "base/error.h"
#include "nn/layers.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

constexpr double kSquareGuard = 1e-12;

// The reference normalises the prediction and then uses a cosine loss that guards the squared lengths with 1e-12; both
// are kept, so that losses agree beyond the twelfth digit.
at::Tensor cosine(const at::Tensor& prediction, const at::Tensor& target) {
  const at::Tensor p = unit_length(prediction);
  const at::Tensor lengths = at::sqrt((p.square().sum(-1) + kSquareGuard) * (target.square().sum(-1) + kSquareGuard));
  return (p * target).sum(-1) / lengths;
}

at::Tensor classes_loss(const at::Tensor& logits, const at::Tensor& ids) {
  const at::Tensor log_probabilities = at::log_softmax(logits, -1);
  return -log_probabilities.gather(-1, ids).squeeze(-1);
}

// The positive is the same place of the same image, the negatives its other places.
at::Tensor info_nce(const at::Tensor& prediction, const at::Tensor& target, double temperature) {
  const at::Tensor logits =
      at::matmul(unit_length(prediction), unit_length(target).transpose(1, 2)) / temperature;  // [B,R,R]
  return -at::log_softmax(logits, -1).diagonal(0, 1, 2);
}

}  // namespace

void LossConfig::fields(Fields& f) {
  f.add("kind", kind, kLossKinds, {.help = "distance of prediction and target"});
  f.add("beta", beta, {.help = "where smooth_l1 turns linear", .min = 0, .above_min = true});
  f.add("temperature", temperature,
        {.help = "of the student's softmax in soft_cross_entropy and info_nce", .min = 0, .above_min = true});
}

TargetForm target_form(LossKind kind) {
  if (kind == LossKind::kCrossEntropy) return TargetForm::kClasses;
  return kind == LossKind::kSoftCrossEntropy ? TargetForm::kProbabilities : TargetForm::kFeatures;
}

at::Tensor token_loss(const at::Tensor& prediction_in, const at::Tensor& target_in, const LossConfig& config) {
  const at::Tensor prediction = at_least_float(prediction_in);
  if (config.kind == LossKind::kCrossEntropy) {
    expect_shape(target_in, {prediction.size(0), prediction.size(1), 1}, "loss: the target's classes");
    return classes_loss(prediction, target_in);
  }
  invariant(prediction.dim() == 3 && prediction.sizes() == target_in.sizes(), "loss: prediction ",
            shape_text(prediction), " and target ", shape_text(target_in), " are not about the same tokens");
  const at::Tensor target = at_least_float(target_in);
  switch (config.kind) {
    case LossKind::kCosine:
      return 1 - cosine(prediction, target);
    case LossKind::kNegativeCosine:
      return -cosine(prediction, target);
    case LossKind::kL2:
      return (prediction - target).square().mean(-1);
    case LossKind::kL1:
      return (prediction - target).abs().mean(-1);
    case LossKind::kSmoothL1:
      return at::smooth_l1_loss(prediction, target, at::Reduction::None, config.beta).mean(-1);
    case LossKind::kSoftCrossEntropy:
      return -(target * at::log_softmax(prediction / config.temperature, -1)).sum(-1);
    case LossKind::kInfoNce:
      return info_nce(prediction, target, config.temperature);
    case LossKind::kCrossEntropy:
      break;
  }
  return {};
}

}  // namespace lacuna
