#pragma once
// Linear classifiers trained side by side on the same batches: parameter-free batch norm, one matrix product for all
// heads, cross-entropy with its gradient in closed form, LARS or SGD. float32 and float64 alike.

#include <optional>

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

enum class ProbeRule { kLars, kSgd };
inline constexpr Named<ProbeRule> kProbeRules[] = {{ProbeRule::kLars, "lars"}, {ProbeRule::kSgd, "sgd"}};

struct ProbeUpdate {
  ProbeRule rule = ProbeRule::kLars;
  double momentum = 0.9;
  double trust = 1e-3;      // LARS only
  double weight_decay = 0;  // added to the gradient; LARS leaves biases out, SGD does not
  bool nesterov = false;    // SGD only

  void fields(Fields& f);
};

// One step for S parameters side by side: parameter, gradient and momentum [S,...], rates [S]. In place.
//   LARS (You et al., 2017, as MAE and CAE have it): g += wd p and g *= trust |p| / |g| (1 if a norm is 0) where p has
//   two dimensions or more of its own; m = momentum m + g; p -= rate m.
//   SGD as torch.optim.SGD: g += wd p; m = momentum m + g; p -= rate (nesterov ? g + momentum m : m).
void update_parameter(at::Tensor parameter, at::Tensor gradient, at::Tensor momentum, const at::Tensor& rates,
                      const ProbeUpdate& update);

enum class Statistics { kRunning, kBatch };

class LinearHeads {
 public:
  // weight [S,K,D] and bias [S,K] are copied. Batch norm with this epsilon, or none.
  LinearHeads(const at::Tensor& weight, const at::Tensor& bias, std::optional<double> norm_eps);

  LinearHeads(LinearHeads&&) = default;
  LinearHeads& operator=(LinearHeads&&) = default;
  LinearHeads(const LinearHeads&) = delete;  // tensors copy as references
  LinearHeads& operator=(const LinearHeads&) = delete;

  struct Gradients {
    at::Tensor loss;    // [S], mean cross-entropy
    at::Tensor weight;  // [S,K,D]
    at::Tensor bias;    // [S,K]
  };

  // For features [B,D] and labels [B], normalised by the batch; moves the running statistics (momentum 0.1, unbiased
  // variance), so it is called once for each step. With batch norm B is at least 2.
  Gradients gradients(const at::Tensor& features, const at::Tensor& labels);
  void update(const Gradients& gradients, const at::Tensor& rates, const ProbeUpdate& update);  // rates [S]

  at::Tensor logits(const at::Tensor& features, Statistics statistics = Statistics::kRunning) const;  // [S,B,K]

  const at::Tensor& weight() const { return weight_; }
  const at::Tensor& bias() const { return bias_; }
  const at::Tensor& running_mean() const { return running_mean_; }  // [D]
  const at::Tensor& running_var() const { return running_var_; }    // [D]

 private:
  at::Tensor normalized(const at::Tensor& features, const at::Tensor& mean, const at::Tensor& var) const;
  at::Tensor scores(const at::Tensor& normalized) const;

  at::Tensor weight_, bias_, weight_momentum_, bias_momentum_;
  at::Tensor running_mean_, running_var_;
  std::optional<double> norm_eps_;
};

}  // namespace lacuna
