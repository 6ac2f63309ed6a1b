#include "nn/layers.h"

namespace lacuna {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (with_bias) bias = register_parameter("bias", torch::empty({out}));
}

at::Tensor LinearImpl::forward(const at::Tensor& x) { return at::linear(x, weight, bias); }

LayerNormImpl::LayerNormImpl(int64_t width, double eps) : eps_(eps) {
  weight = register_parameter("weight", torch::empty({width}));
  bias = register_parameter("bias", torch::empty({width}));
}

at::Tensor LayerNormImpl::forward(const at::Tensor& x) { return at::layer_norm(x, weight.sizes(), weight, bias, eps_); }

LayerScaleImpl::LayerScaleImpl(int64_t width, double initial) : initial_(initial) {
  gamma = register_parameter("gamma", torch::empty({width}));
}

at::Tensor LayerScaleImpl::forward(const at::Tensor& x) { return x * gamma; }

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case Activation::kSwiGlu: {
      const auto halves = x.chunk(2, -1);
      return at::silu(halves[0]) * halves[1];
    }
  }
  return x;
}

MlpImpl::MlpImpl(int64_t width, int64_t hidden, Activation activation, std::optional<double> norm_eps)
    : fc1(register_module("fc1", Linear(width, activation == Activation::kSwiGlu ? 2 * hidden : hidden))),
      fc2(register_module("fc2", Linear(hidden, width))),
      activation_(activation) {
  if (norm_eps) norm = register_module("norm", LayerNorm(hidden, *norm_eps));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  const at::Tensor inner = activate(fc1(x), activation_);
  return fc2(norm ? norm(inner) : inner);
}

at::Tensor unit_length(const at::Tensor& x, double floor) {
  return x / at::linalg_vector_norm(x, 2, -1, /*keepdim=*/true).clamp_min(floor);
}

at::Tensor at_least_float(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

}  // namespace lacuna
