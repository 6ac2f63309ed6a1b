#include "mim/normalize.h"

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>

#include "base/error.h"
#include "nn/layers.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

// x by mean and variance of `sample` over `dims`.
at::Tensor standardize(const at::Tensor& x, const at::Tensor& sample, at::IntArrayRef dims, bool unbiased, double eps) {
  const auto [variance, mean] = at::var_mean(sample, dims, /*correction=*/unbiased ? 1 : 0, /*keepdim=*/true);
  return (x - mean) / at::sqrt(variance + eps);
}

// The stateless kinds, with pooled statistics taken from `sample`, a part of x.
at::Tensor shape(const at::Tensor& x, const at::Tensor& sample, const NormalizeConfig& config, double eps) {
  switch (config.kind) {
    case NormalizeKind::kKeep:
      return x;
    case NormalizeKind::kUnit:
      return unit_length(x, eps);
    case NormalizeKind::kLayerNorm:
      if (config.unbiased) return standardize(x, x, {-1}, true, eps);
      return at::layer_norm(x, {x.size(-1)}, {}, {}, eps);
    case NormalizeKind::kInstanceNorm:
      return standardize(x, sample, {1}, config.unbiased, eps);
    case NormalizeKind::kBatchNorm:
      return standardize(x, sample, {0, 1}, config.unbiased, eps);
    case NormalizeKind::kBatchScalar:
      return standardize(x, sample, {0, 1, 2}, config.unbiased, eps);
    case NormalizeKind::kWhiten:
    case NormalizeKind::kCenterSharpen:
      break;
  }
  invariant(false, "normalize: this kind has state and needs a Normalizer");
  return {};
}

bool has_running_statistics(const NormalizeConfig& config) {
  return config.kind == NormalizeKind::kWhiten || (config.kind == NormalizeKind::kBatchNorm && config.running);
}

double eps_of(const NormalizeConfig& config) { return config.eps.value_or(default_eps(config.kind)); }

at::Tensor covariance(const at::Tensor& patches) {  // [B,N,K] -> [K,K], biased
  const at::Tensor rows = patches.flatten(0, 1);
  const at::Tensor centered = rows - rows.mean(0);
  return at::mm(centered.t(), centered) / rows.size(0);
}

at::Tensor inverse_square_root(const at::Tensor& cov, double shrinkage) {  // symmetric [K,K], float64
  const auto [values, vectors] = at::linalg_eigh(cov);
  const at::Tensor shrunk = (1 - shrinkage) * values.clamp_min(0) + shrinkage * values.mean();
  // Targets that do not vary at all have no directions to equalise: they become zeros, not infinities.
  const at::Tensor scale = at::where(shrunk > 0, shrunk.rsqrt(), 0.0);
  return at::mm(vectors * scale, vectors.t());
}

void blend(at::Tensor& state, const at::Tensor& batch, double keep) {
  state.mul_(keep).add_(batch.to(state.options()), 1 - keep);
}

}  // namespace

void NormalizeConfig::fields(Fields& f) {
  f.add("kind", kind, kNormalizeKinds, {.help = "how a target is shaped"});
  f.add("eps", eps, {.help = "what keeps a division finite; of whiten, the shrinkage", .min = 0, .above_min = true});
  f.add("unbiased", unbiased, {.help = "variances divide by n - 1"});
  f.add("running", running, {.help = "batch_norm: statistics of past batches instead of this one's"});
  f.add("momentum", momentum, {.help = "share that a running value keeps", .min = 0, .max = 1, .below_max = true});
  f.table("temperature", temperature, {.help = "center_sharpen: of the softmax", .shorthand = "start"});
}

double default_eps(NormalizeKind kind) {
  switch (kind) {
    case NormalizeKind::kLayerNorm:
    case NormalizeKind::kBatchScalar:
      return 1e-6;
    case NormalizeKind::kInstanceNorm:
    case NormalizeKind::kBatchNorm:
      return 1e-5;
    case NormalizeKind::kUnit:
      return 1e-12;
    case NormalizeKind::kWhiten:
      return 1e-3;
    case NormalizeKind::kKeep:
    case NormalizeKind::kCenterSharpen:
      break;
  }
  return 0;
}

at::Tensor normalize(const at::Tensor& x_in, const NormalizeConfig& config) {
  expect_shape(x_in, {kAny, kAny, kAny}, "tokens to normalize");
  invariant(!has_running_statistics(config), "normalize: running statistics need a Normalizer");
  const at::Tensor x = at_least_float(x_in);
  return shape(x, x, config, eps_of(config));
}

Normalizer::Normalizer(const NormalizeConfig& config, int64_t width)
    : config_(config), width_(width), eps_(eps_of(config)) {
  check(!config.running || config.kind == NormalizeKind::kBatchNorm,
        "normalize: running statistics are for kind batch_norm only (whiten always has them); leave `running` out");
  if (config.kind == NormalizeKind::kCenterSharpen) {
    center_ = at::zeros({1, 1, width}, at::kDouble);
    center_cls_ = at::zeros({1, 1, width}, at::kDouble);
  }
  if (!has_running_statistics(config)) return;
  mean_ = at::zeros({width}, at::kDouble);
  second_ = config.kind == NormalizeKind::kWhiten ? at::eye(width, at::kDouble) : at::ones({width}, at::kDouble);
  updates_ = at::zeros({}, at::kLong);
}

at::Tensor Normalizer::apply(const at::Tensor& grid, double temperature) {
  expect_shape(grid, {kAny, kAny, width_}, "targets to normalize");
  const at::Tensor x = at_least_float(grid);
  if (config_.kind == NormalizeKind::kCenterSharpen) return center_and_sharpen(x, temperature);
  if (config_.kind == NormalizeKind::kWhiten) return whiten(x);
  if (has_running_statistics(config_) && has_statistics()) return standardize_running(x);
  return shape(x, x.slice(1, 1), config_, eps_);
}

at::Tensor Normalizer::center_and_sharpen(const at::Tensor& x, double temperature) const {
  const at::Tensor centers = at::cat({center_cls_, center_.expand({1, x.size(1) - 1, width_})}, 1);  // [1,1+N,K]
  return at::softmax((x - centers.to(x.scalar_type())) / temperature, -1);
}

at::Tensor Normalizer::standardize_running(const at::Tensor& x) const {
  return (x - mean_.to(x.scalar_type())) * at::rsqrt(second_ + eps_).to(x.scalar_type());
}

at::Tensor Normalizer::whiten(const at::Tensor& x) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);  // products stay in x's dtype
  const at::NoGradGuard no_grad;
  if (!has_statistics()) {
    const at::Tensor patches = x.slice(1, 1);
    const at::Tensor root = inverse_square_root(covariance(patches).to(at::kDouble), eps_);
    return at::matmul(x - patches.mean({0, 1}), root.to(x.scalar_type()));
  }
  if (whitening_version_ != second_._version()) {  // moved by an update, or filled when a run was resumed
    whitening_ = inverse_square_root(second_, eps_);
    whitening_version_ = second_._version();
  }
  return at::matmul(x - mean_.to(x.scalar_type()), whitening_.to(x.scalar_type()));
}

TokenMeans Normalizer::means(const at::Tensor& grid) const {
  expect_shape(grid, {kAny, kAny, width_}, "targets of a step");
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::NoGradGuard no_grad;
  const at::Tensor x = at_least_float(grid), patches = x.slice(1, 1);
  TokenMeans out{.patch = patches.mean({0, 1}), .cls = x.select(1, 0).mean(0)};
  if (!has_running_statistics(config_)) return out;
  const at::Tensor shifted = (patches - mean_.to(x.scalar_type())).flatten(0, 1);  // [B*N,K]
  out.second = config_.kind == NormalizeKind::kWhiten ? at::mm(shifted.t(), shifted) / shifted.size(0)
                                                      : shifted.square().mean(0);
  return out;
}

void Normalizer::update(const at::Tensor& grid) {
  if (center_.defined() || updates_.defined()) update_from_means(means(grid));
}

void Normalizer::update_from_means(const TokenMeans& means) {
  const at::NoGradGuard no_grad;
  if (center_.defined()) {
    expect_shape(means.patch, {width_}, "mean of the patch tokens");
    expect_shape(means.cls, {width_}, "mean of the class tokens");
    blend(center_, means.patch, config_.momentum);
    blend(center_cls_, means.cls, config_.momentum);
  }
  if (!updates_.defined()) return;
  invariant(means.second.defined() && means.second.sizes() == second_.sizes(), "normalize: second moments are missing");
  const at::Tensor offset = means.patch.to(mean_.options()) - mean_;  // of the batch's mean from the running one
  const at::Tensor square = second_.dim() == 2 ? at::outer(offset, offset) : offset.square();
  const double keep = has_statistics() ? config_.momentum : 0;
  blend(second_, means.second.to(second_.options()) - square, keep);
  mean_.add_(offset, 1 - keep);
  updates_.add_(1);
}

NamedTensors Normalizer::state() const {
  if (center_.defined()) return {{"center", center_}, {"center_cls", center_cls_}};
  if (!updates_.defined()) return {};
  const char* second = second_.dim() == 2 ? "running_cov" : "running_var";
  return {{"running_mean", mean_}, {second, second_}, {"updates", updates_}};
}

void Normalizer::to(at::Device device) {
  for (at::Tensor* tensor : {&center_, &center_cls_, &mean_, &second_}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  whitening_version_.reset();
}

}  // namespace lacuna
