#include "nn/path_drop.h"

#include "base/error.h"

namespace lacuna {

SeededPathDrop::SeededPathDrop(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples) {
  streams_.reserve(samples.size());
  for (const int64_t sample : samples)
    streams_.emplace_back(seed, Purpose::kDropPath, epoch, static_cast<uint64_t>(sample));
}

std::vector<double> SeededPathDrop::factors(double rate, int64_t batch) {
  invariant(batch == static_cast<int64_t>(streams_.size()), "stochastic depth: batch of ", batch, " but ",
            streams_.size(), " streams");
  std::vector<double> out;
  out.reserve(streams_.size());
  for (Rng& stream : streams_) out.push_back(stream.chance(rate) ? 0.0 : 1.0 / (1.0 - rate));
  return out;
}

at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch, double rate, PathDrop* drop) {
  if (drop == nullptr || rate == 0) return residual + branch;
  const std::vector<double> factors = drop->factors(rate, residual.size(0));
  const at::Tensor scale = torch::tensor(factors, torch::kFloat64).to(branch.options()).view({-1, 1, 1});
  return residual + branch * scale;
}

double path_drop_rate(double max, int64_t block, int64_t depth) {
  return depth > 1 ? max * static_cast<double>(block) / static_cast<double>(depth - 1) : 0.0;
}

}  // namespace lacuna
