#pragma once
// How targets are shaped before a loss meets them. Most shapes are plain functions of the tokens; batch norm over
// running statistics, whitening and centring carry state, which is saved with the run.
//
// The class token is excluded from every statistic that pools tokens, and is shaped by it like any patch; only centring
// keeps a centre of its own for it, as iBOT does.

#include <optional>

#include "base/config.h"
#include "nn/weights/weights.h"
#include "train/ramp.h"

namespace lacuna {

enum class NormalizeKind {
  kKeep,
  kUnit,
  kLayerNorm,
  kInstanceNorm,
  kBatchNorm,
  kBatchScalar,
  kWhiten,
  kCenterSharpen,
};
inline constexpr Named<NormalizeKind> kNormalizeKinds[] = {
    {NormalizeKind::kKeep, "keep", "as the teacher gives it"},
    {NormalizeKind::kUnit, "unit", "unit length per token"},
    {NormalizeKind::kLayerNorm, "layer_norm", "zero mean and unit variance per token, without affine"},
    {NormalizeKind::kInstanceNorm, "instance_norm", "the same per image and channel, over its patches"},
    {NormalizeKind::kBatchNorm, "batch_norm", "the same per channel, over all patches of the batch"},
    {NormalizeKind::kBatchScalar, "batch_scalar", "one mean and one variance for the whole batch"},
    {NormalizeKind::kWhiten, "whiten", "channels decorrelated (ZCA) by a running covariance"},
    {NormalizeKind::kCenterSharpen, "center_sharpen", "softmax of what is left of a running centre"}};

struct NormalizeConfig {
  NormalizeKind kind = NormalizeKind::kUnit;
  std::optional<double> eps;  // empty: default_eps(kind)
  bool unbiased = false;
  bool running = false;
  double momentum = 0.9;
  Ramp temperature{.start = 0.04};

  void fields(Fields& f);
};

// What is added to a variance: 1e-6 for layer_norm and batch_scalar, 1e-5 for instance_norm and batch_norm. For unit
// the smallest length a token is divided by, 1e-12. For whiten the share of the mean variance that the covariance is
// shrunk towards, 1e-3. 0 where nothing is divided.
double default_eps(NormalizeKind kind);

// The stateless kinds, [B,R,K] -> [B,R,K] in float32 or wider; all R tokens count for statistics. Differentiable, so
// that it can shape predictions too. std::logic_error for a kind with state.
at::Tensor normalize(const at::Tensor& x, const NormalizeConfig& config);

// What a batch adds to the state. Every member is a mean over tokens, so means of equally large shares of a batch are
// averaged over ranks before they are used. `second` is for batch_norm [K] and whiten [K,K] only: the mean (product of)
// squares about the running mean that all ranks share, which does not cancel as one about zero would.
struct TokenMeans {
  at::Tensor patch;  // [K], over B*N patch tokens
  at::Tensor cls;    // [K], over B class tokens
  at::Tensor second = {};
};

// Shapes full grids. State starts at zero for centring; running statistics are those of the grid at hand until the
// first update, and the first batch's own after it.
//
// Whitening is ZCA, (x - mean) C^(-1/2): of all whitenings the closest to x, and unlike PCA whitening continuous in C,
// so targets do not flip signs or swap channels while the running covariance moves. C is the covariance shrunk to its
// mean variance, (1 - eps) C + eps tr(C)/K. It costs an eigendecomposition of [K,K] after each update.
class Normalizer {
 public:
  Normalizer(const NormalizeConfig& config, int64_t width);

  // [B,1+N,K] -> [B,1+N,K], class token first, in float32 or wider. `temperature` of this step, for center_sharpen.
  at::Tensor apply(const at::Tensor& grid, double temperature = 1);

  // After the optimizer step, with the raw targets seen in it: centre <- m centre + (1 - m) mean. No-ops without state.
  void update(const at::Tensor& grid);
  TokenMeans means(const at::Tensor& grid) const;
  void update_from_means(const TokenMeans& means);

  // Shared, not copied; empty without state. "center", "center_cls" [1,1,K]; "running_mean" [K], "running_var" [K] or
  // "running_cov" [K,K], and "updates" [], an int64 that stays on the CPU. Floating state is float64.
  NamedTensors state() const;
  void to(at::Device device);

  const NormalizeConfig& config() const { return config_; }

 private:
  at::Tensor center_and_sharpen(const at::Tensor& x, double temperature) const;
  at::Tensor standardize_running(const at::Tensor& x) const;
  at::Tensor whiten(const at::Tensor& x);
  bool has_statistics() const { return updates_.item<int64_t>() > 0; }

  NormalizeConfig config_;
  int64_t width_;
  double eps_;
  at::Tensor center_, center_cls_;      // kCenterSharpen
  at::Tensor mean_, second_, updates_;  // kBatchNorm when running, and kWhiten
  at::Tensor whitening_;                // [K,K], made from second_ as of whitening_version_
  std::optional<uint32_t> whitening_version_;
};

}  // namespace lacuna
