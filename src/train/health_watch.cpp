#include "train/health_watch.h"

#include <cstdio>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr double kMargin = 0.005;        // of cosine; less is no better than a constant
constexpr double kCollapsedShare = 0.2;  // of the largest rank seen
constexpr double kCollapsedRank = 2.0;
constexpr int64_t kPatience = 100;  // steps before anything is said: no run has learnt much by then

std::optional<double> value_of(std::span<const Metric> metrics, const std::string& name) {
  for (const Metric& metric : metrics) {
    if (metric.name == name) return metric.value;
  }
  return std::nullopt;
}

std::string rounded(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.3f", value);
  return out;
}

}  // namespace

std::vector<std::string> HealthWatch::look(int64_t step, std::span<const Metric> health) {
  std::vector<std::string> out;
  for (const Metric& metric : health) {
    const auto slash = metric.name.rfind('/');
    const std::string objective = metric.name.substr(0, slash), figure = metric.name.substr(slash + 1);
    if (figure == "rank") {
      double& largest = largest_rank_[metric.name];
      largest = std::max(largest, metric.value);
      if (step >= std::max(kPatience, warmup_steps_) &&
          (metric.value < kCollapsedRank || metric.value < kCollapsedShare * largest) && first_time(metric.name)) {
        out.push_back(text("health: the effective rank of the features fell to ", rounded(metric.value),
                           " (largest so far ", rounded(largest),
                           "): they are collapsing onto few directions; lower the learning rate or check the targets"));
      }
    }
    if (figure != "cosine" || step < std::max(kPatience, 2 * warmup_steps_)) continue;
    const auto trivial = value_of(health, objective + "/cosine_trivial");
    if (trivial && metric.value < *trivial + kMargin && first_time(metric.name)) {
      out.push_back(text("health: after warm-up the student's cosine with its targets is ", rounded(metric.value),
                         ", no better than predicting their mean (", rounded(*trivial),
                         "); it has learnt nothing about single tokens yet: try a higher learning rate, and check that "
                         "the teacher suits the images"));
    }
  }
  return out;
}

}  // namespace lacuna
