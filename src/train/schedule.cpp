#include "train/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lacuna {
namespace {

double share_of(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

double Schedule::at(std::int64_t step) const { return without_lag(lag ? std::max<std::int64_t>(0, step - 1) : step); }

double Schedule::without_lag(std::int64_t step) const {
  if (step >= warmup) return after_warmup(step);
  return on_line(warmup_start, peak, static_cast<double>(step), static_cast<double>(warmup), warmup_ends);
}

double Schedule::after_warmup(std::int64_t step) const {
  switch (kind) {
    case ScheduleKind::kCosine:
      return on_half_cosine(peak, floor, share_of(step - warmup, total - warmup));
    case ScheduleKind::kCosineFromStart:
      return on_half_cosine(peak, floor, share_of(step, total));
    case ScheduleKind::kConstant:
      return peak;
    case ScheduleKind::kConstantCooldown: {
      const std::int64_t begin = total - cooldown;
      return step < begin ? peak : floor + (peak - floor) * (1.0 - share_of(step - begin, cooldown));
    }
    case ScheduleKind::kDrops: {
      const auto fallen = std::upper_bound(drops.begin(), drops.end(), step) - drops.begin();
      return peak * std::pow(drop_factor, static_cast<double>(fallen));
    }
  }
  invariant(false, "unknown kind of schedule");
  return peak;
}

}  // namespace lacuna
