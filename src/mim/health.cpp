#include "mim/health.h"

namespace lacuna {
namespace {

at::Tensor unit_rows(const at::Tensor& x) {
  const at::Tensor rows = x.detach().to(at::kFloat).reshape({-1, x.size(-1)});
  return rows / at::linalg_vector_norm(rows, 2, -1, true).clamp_min(1e-12);
}

}  // namespace

at::Tensor mean_cosine(const at::Tensor& prediction, const at::Tensor& target) {
  return (unit_rows(prediction) * unit_rows(target)).sum(-1).mean();
}

at::Tensor trivial_cosine(const at::Tensor& target) {
  return at::linalg_vector_norm(unit_rows(target).mean(0));  // mean of t . m / |m| over tokens is |m|
}

at::Tensor target_variance(const at::Tensor& target) { return 1 - unit_rows(target).mean(0).square().sum(); }

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
