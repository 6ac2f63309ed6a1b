#pragma once
// Turns figures of health into words, once per kind of trouble.

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "train/task.h"

namespace lacuna {

class HealthWatch {
 public:
  explicit HealthWatch(int64_t warmup_steps) : warmup_steps_(warmup_steps) {}

  // Looks at "<objective>/cosine" beside "<objective>/cosine_trivial" and at "<objective>/rank". Returns new warnings.
  std::vector<std::string> look(int64_t step, std::span<const Metric> health);

 private:
  bool first_time(const std::string& warning_kind) { return said_.insert(warning_kind).second; }

  int64_t warmup_steps_;
  std::map<std::string, double> largest_rank_;
  std::set<std::string> said_;
};

}  // namespace lacuna
