#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace lacuna {

double Schedule::at(std::int64_t step) const {
  if (step < warmup) return warmup == 1 ? 0.0 : peak * static_cast<double>(step) / static_cast<double>(warmup - 1);
  const double share = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return floor + 0.5 * (peak - floor) * (1.0 + std::cos(std::numbers::pi * share));
}

}  // namespace lacuna
