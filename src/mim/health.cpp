#include "mim/health.h"

#include "nn/layers.h"

namespace lacuna {
namespace {

at::Tensor unit_rows(const at::Tensor& x) { return unit_length(x.detach().to(at::kFloat).reshape({-1, x.size(-1)})); }

}  // namespace

at::Tensor mean_cosine(const at::Tensor& prediction, const at::Tensor& target) {
  return (unit_rows(prediction) * unit_rows(target)).sum(-1).mean();
}

at::Tensor trivial_cosine(const at::Tensor& target) {
  return at::linalg_vector_norm(unit_rows(target).mean(0));  // mean of t . m / |m| over tokens is |m|
}

at::Tensor target_variance(const at::Tensor& target) { return 1 - unit_rows(target).mean(0).square().sum(); }

at::Tensor class_accuracy(const at::Tensor& prediction, const at::Tensor& ids) {
  return prediction.detach().argmax(-1, /*keepdim=*/true).eq(ids).to(at::kFloat).mean();
}

at::Tensor largest_class_share(const at::Tensor& ids) {
  return at::bincount(ids.flatten()).max().to(at::kFloat) / static_cast<double>(ids.numel());
}

at::Tensor mean_entropy(const at::Tensor& probabilities) {
  return -(probabilities * probabilities.clamp_min(1e-30).log()).sum(-1).mean().to(at::kFloat);
}

at::Tensor entropy_of_mean(const at::Tensor& probabilities) {
  const at::Tensor mean = probabilities.reshape({-1, probabilities.size(-1)}).mean(0);
  return -(mean * mean.clamp_min(1e-30).log()).sum().to(at::kFloat);
}

at::Tensor effective_rank(const at::Tensor& features) {
  at::Tensor rows = features.detach().to(at::kFloat).reshape({-1, features.size(-1)});
  rows = rows.slice(0, 0, kRankRows, 1);
  rows = rows - rows.mean(0);
  const at::Tensor covariance = at::matmul(rows.t(), rows) / static_cast<double>(rows.size(0));
  const at::Tensor eigenvalues = at::linalg_eigvalsh(covariance).clamp_min(0);
  const at::Tensor share = eigenvalues / eigenvalues.sum().clamp_min(1e-30);
  return at::exp(-(share * at::log(share.clamp_min(1e-30))).sum());
}

}  // namespace lacuna
