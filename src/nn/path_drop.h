#pragma once
// Stochastic depth (Huang et al., 2016; timm's per-sample, keep-scaled form). One object serves one forward pass: every
// residual branch with a positive rate asks it, in call order, for its factors.

#include <memory>
#include <span>
#include <vector>

#include "base/rng.h"
#include "nn/torch.h"

namespace lacuna {

class PathDrop {
 public:
  virtual ~PathDrop() = default;
  // Per sample: 0 with probability `rate`, else 1 / (1 - rate).
  virtual std::vector<double> factors(double rate, int64_t batch) = 0;
};

// Draws keyed by (seed, epoch, sample): the n-th branch of a sample gets the same factor on any rank and after a
// resume.
class SeededPathDrop : public PathDrop {
 public:
  SeededPathDrop(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples);
  std::vector<double> factors(double rate, int64_t batch) override;

 private:
  std::vector<Rng> streams_;  // one per sample
};

// `residual + drop(branch)`; `drop` may be null (evaluation) and a rate of 0 draws nothing. Shapes [B,T,D].
at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch, double rate, PathDrop* drop);

// Rates rise linearly from 0 at the first block to `max` at the last; a single block has rate 0.
double path_drop_rate(double max, int64_t block, int64_t depth);

}  // namespace lacuna
