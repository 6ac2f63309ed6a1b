#include "eval/linear_heads.h"

#include "base/error.h"

namespace lacuna {
namespace {

constexpr double kNormMomentum = 0.1;

// [S] -> [S,1,...] with as many dimensions as `like`.
at::Tensor spread(const at::Tensor& values, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = values.size(0);
  return values.view(shape);
}

at::Tensor norms(const at::Tensor& x) { return at::linalg_vector_norm(x.flatten(1), 2, 1); }  // [S,...] -> [S]

at::Tensor trust_ratio(const at::Tensor& parameter, const at::Tensor& gradient, double trust) {
  const at::Tensor p = norms(parameter), g = norms(gradient);
  return at::where(p.gt(0).logical_and_(g.gt(0)), trust * p / g, at::ones_like(p));
}

}  // namespace

void ProbeUpdate::fields(Fields& f) {
  f.add("rule", rule, kProbeRules, {.help = "update rule"});
  f.add("momentum", momentum, {.help = "momentum", .min = 0, .max = 1, .below_max = true});
  f.add("trust", trust, {.help = "trust coefficient of LARS", .min = 0, .above_min = true});
  f.add("weight_decay", weight_decay, {.help = "weight decay", .min = 0});
  f.add("nesterov", nesterov, {.help = "Nesterov's momentum, for SGD"});
}

void update_parameter(at::Tensor parameter, at::Tensor gradient, at::Tensor momentum, const at::Tensor& rates,
                      const ProbeUpdate& update) {
  const bool lars = update.rule == ProbeRule::kLars;
  const bool scaled = lars && parameter.dim() > 2;  // the first dimension counts the heads
  if (update.weight_decay != 0 && (scaled || !lars)) gradient = gradient + update.weight_decay * parameter;
  if (scaled) gradient = gradient * spread(trust_ratio(parameter, gradient, update.trust), gradient);
  momentum.mul_(update.momentum).add_(gradient);
  const at::Tensor step = !lars && update.nesterov ? gradient + update.momentum * momentum : momentum;
  parameter.sub_(spread(rates, step) * step);
}

LinearHeads::LinearHeads(const at::Tensor& weight, const at::Tensor& bias, std::optional<double> norm_eps)
    : weight_(weight.detach().clone(at::MemoryFormat::Contiguous)),
      bias_(bias.detach().clone(at::MemoryFormat::Contiguous)),
      weight_momentum_(at::zeros_like(weight_)),
      bias_momentum_(at::zeros_like(bias_)),
      running_mean_(at::zeros({weight.size(2)}, weight_.options())),
      running_var_(at::ones({weight.size(2)}, weight_.options())),
      norm_eps_(norm_eps) {
  invariant(weight.dim() == 3 && bias.sizes() == weight.sizes().slice(0, 2),
            "heads expect weights [S,K,D] and biases [S,K]");
}

at::Tensor LinearHeads::normalized(const at::Tensor& features, const at::Tensor& mean, const at::Tensor& var) const {
  return (features - mean) / (var + *norm_eps_).sqrt();
}

// [B,D] -> [S,B,K]
at::Tensor LinearHeads::scores(const at::Tensor& normalized) const {
  const int64_t heads = weight_.size(0), classes = weight_.size(1);
  return at::addmm(bias_.view({-1}), normalized, weight_.view({heads * classes, -1}).t())
      .view({-1, heads, classes})
      .transpose(0, 1);
}

LinearHeads::Gradients LinearHeads::gradients(const at::Tensor& features, const at::Tensor& labels) {
  const auto batch = static_cast<double>(features.size(0));
  at::Tensor x = features;
  if (norm_eps_) {
    invariant(features.size(0) > 1, "batch norm over a single sample");
    const at::Tensor mean = features.mean(0), var = features.var(0, /*unbiased=*/false);
    running_mean_.mul_(1 - kNormMomentum).add_(mean, kNormMomentum);
    running_var_.mul_(1 - kNormMomentum).add_(var, kNormMomentum * batch / (batch - 1));
    x = normalized(features, mean, var);
  }
  const at::Tensor log_p = at::log_softmax(scores(x), 2);                           // [S,B,K]
  const at::Tensor truth = labels.view({1, -1, 1}).expand({log_p.size(0), -1, 1});  // [S,B,1]
  const at::Tensor loss = log_p.gather(2, truth).mean(at::IntArrayRef{1, 2}).neg();
  at::Tensor error = log_p.exp();  // d(loss B)/d(logits)
  error.scatter_add_(2, truth, at::full_like(truth, -1, error.options()));
  error.div_(batch);
  const at::Tensor flat = error.transpose(0, 1).reshape({features.size(0), -1});  // [B,SK]
  return {loss, flat.t().matmul(x).view_as(weight_), error.sum(1)};
}

void LinearHeads::update(const Gradients& gradients, const at::Tensor& rates, const ProbeUpdate& update) {
  update_parameter(weight_, gradients.weight, weight_momentum_, rates, update);
  update_parameter(bias_, gradients.bias, bias_momentum_, rates, update);
}

at::Tensor LinearHeads::logits(const at::Tensor& features, Statistics statistics) const {
  if (!norm_eps_) return scores(features);
  if (statistics == Statistics::kRunning) return scores(normalized(features, running_mean_, running_var_));
  return scores(normalized(features, features.mean(0), features.var(0, /*unbiased=*/false)));
}

}  // namespace lacuna
