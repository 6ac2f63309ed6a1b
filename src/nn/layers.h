#pragma once
// The small modules everything is built from. They allocate parameters without initialising them: nn/init fills them,
// keyed by their names, so that a weight does not depend on the order of construction.

#include <optional>

#include "nn/torch.h"

namespace lacuna {

// y = x W^T + b; weight [out, in], bias [out] (absent when `bias` is false).
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool bias = true);
  at::Tensor forward(const at::Tensor& x);  // [..., in] -> [..., out]

  at::Tensor weight, bias;
};
TORCH_MODULE(Linear);

// Layer normalisation over the last dimension with weight and bias [D].
class LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(int64_t width, double eps);
  at::Tensor forward(const at::Tensor& x);

  at::Tensor weight, bias;

 private:
  double eps_;
};
TORCH_MODULE(LayerNorm);

// Learnable per-channel factor of a residual branch (Touvron et al., CaiT).
class LayerScaleImpl : public torch::nn::Module {
 public:
  LayerScaleImpl(int64_t width, double initial);
  at::Tensor forward(const at::Tensor& x);

  double initial() const { return initial_; }
  at::Tensor gamma;  // [D]

 private:
  double initial_;
};
TORCH_MODULE(LayerScale);

enum class Activation { kGelu, kGeluTanh, kQuickGelu, kSwiGlu };

// kGelu is the exact (erf) form; kQuickGelu is x sigmoid(1.702 x), as OpenAI's CLIP weights expect. kSwiGlu halves the
// last dimension: silu(first half) * second half (Shazeer, 2020; DINOv2's giant).
at::Tensor activate(const at::Tensor& x, Activation activation);

class MlpImpl : public torch::nn::Module {
 public:
  // With `norm_eps` a LayerNorm of the hidden activations stands before the second layer (EVA-02's sub-LN).
  MlpImpl(int64_t width, int64_t hidden, Activation activation, std::optional<double> norm_eps = {});
  at::Tensor forward(const at::Tensor& x);

  Linear fc1, fc2;          // fc1 has twice the hidden rows for SwiGLU
  LayerNorm norm{nullptr};  // null without it

 private:
  Activation activation_;
};
TORCH_MODULE(Mlp);

// x over its length along the last dimension; a token shorter than `floor` is divided by that and so stays near zero
// instead of becoming NaN.
at::Tensor unit_length(const at::Tensor& x, double floor = 1e-12);

// float64 as it is, everything else as float32: where sums over channels are taken.
at::Tensor at_least_float(const at::Tensor& x);

}  // namespace lacuna
