#include "nn/init.h"

#include <cmath>

#include "base/rng.h"
#include "nn/layers.h"

namespace lacuna {
namespace {

constexpr double kTokenSigma = 0.02;

template <class Draw>
void fill(at::Tensor tensor, uint64_t seed, const std::string& name, Draw draw) {
  Rng rng(seed, Purpose::kInit, 0, hash_name(name));
  at::Tensor values = at::empty({tensor.numel()}, at::kDouble);
  double* out = values.data_ptr<double>();
  for (int64_t i = 0; i < tensor.numel(); ++i) out[i] = draw(rng);
  tensor.copy_(values.view(tensor.sizes()));
}

void initialize_linear(LinearImpl& linear, bool patch_embedding, uint64_t seed, const std::string& name) {
  const double fan = static_cast<double>(linear.weight.size(0) + linear.weight.size(1));
  if (patch_embedding) {
    fill_truncated_normal(linear.weight, kTokenSigma, kTokenSigma, seed, name + ".weight");
  } else {
    fill_uniform(linear.weight, std::sqrt(6.0 / fan), seed, name + ".weight");
  }
  if (linear.bias.defined()) linear.bias.zero_();
}

// Parameters that a module owns itself: attention biases, and class, mask and position tokens.
void initialize_own(torch::nn::Module& module, uint64_t seed, const std::string& name) {
  for (auto& item : module.named_parameters(/*recurse=*/false)) {
    if (item.value().dim() == 0) continue;  // a constant, set where it is made
    if (item.key().ends_with("bias")) {
      item.value().zero_();
    } else {
      fill_truncated_normal(item.value(), kTokenSigma, kTokenSigma, seed, name + "." + item.key());
    }
  }
}

}  // namespace

void fill_uniform(at::Tensor tensor, double bound, uint64_t seed, const std::string& name) {
  fill(std::move(tensor), seed, name, [bound](Rng& rng) { return rng.uniform(-bound, bound); });
}

void fill_truncated_normal(at::Tensor tensor, double sigma, double cut, uint64_t seed, const std::string& name) {
  fill(std::move(tensor), seed, name, [sigma, cut](Rng& rng) {
    double value = sigma * rng.normal();
    while (std::abs(value) > cut) value = sigma * rng.normal();
    return value;
  });
}

void initialize(torch::nn::Module& module, uint64_t seed, const std::string& prefix) {
  const at::NoGradGuard no_grad;
  for (auto& item : module.named_modules(prefix, /*include_self=*/true)) {
    torch::nn::Module& part = *item.value();
    if (auto* linear = dynamic_cast<LinearImpl*>(&part)) {
      initialize_linear(*linear, item.key().ends_with("patch_embed"), seed, item.key());
    } else if (auto* norm = dynamic_cast<LayerNormImpl*>(&part)) {
      norm->weight.fill_(1);
      norm->bias.zero_();
    } else if (auto* scale = dynamic_cast<LayerScaleImpl*>(&part)) {
      scale->gamma.fill_(scale->initial());
    } else {
      initialize_own(part, seed, item.key());
    }
  }
}

}  // namespace lacuna
