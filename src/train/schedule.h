#pragma once
// Learning rate as a pure function of the step. The kinds are those of the published recipes; each is one formula.

#include <cstdint>
#include <vector>

#include "train/ramp.h"

namespace lacuna {

// What follows the warm-up of w of T steps.
enum class ScheduleKind { kCosine, kCosineFromStart, kConstant, kConstantCooldown, kDrops };
inline constexpr Named<ScheduleKind> kScheduleKinds[] = {
    {ScheduleKind::kCosine, "cosine", "half a cosine from the end of the warm-up to the end of the run"},
    {ScheduleKind::kCosineFromStart, "cosine_from_start",
     "half a cosine over the whole run: the rate jumps down where the warm-up ends"},
    {ScheduleKind::kConstant, "constant", "the peak"},
    {ScheduleKind::kConstantCooldown, "constant_cooldown", "the peak, then a line down to min_lr"},
    {ScheduleKind::kDrops, "drops", "the peak, multiplied by drop_factor at each of the drops"}};

struct Schedule {
  double peak = 0;
  double floor = 0;         // of the cosines and the cooldown
  std::int64_t warmup = 0;  // steps
  std::int64_t total = 0;   // steps
  ScheduleKind kind = ScheduleKind::kCosine;
  double warmup_start = 0;  // rate where the warm-up's line begins
  // Of the warm-up. `both` reaches the peak twice where a cosine follows, as in BEiT, CAE and SLIP; `first` is a line
  // in fractions of an epoch, as in MAE and MaskFeat, or in steps, as in SimMIM; `last` is open_clip's.
  RampEnds warmup_ends = RampEnds::kBoth;
  // Step k > 0 takes the rate of step k - 1, as in programs that move their schedule after the optimizer.
  bool lag = false;
  std::vector<std::int64_t> drops = {};  // ascending steps; the first one with the lower rate
  double drop_factor = 0.1;
  std::int64_t cooldown = 0;  // steps, at the end

  double at(std::int64_t step) const;

 private:
  double without_lag(std::int64_t step) const;
  double after_warmup(std::int64_t step) const;
};

}  // namespace lacuna
