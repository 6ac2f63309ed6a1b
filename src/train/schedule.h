#pragma once
// Learning rate as a pure function of the step.

#include <cstdint>

namespace lacuna {

struct Schedule {
  double peak = 0;
  double floor = 0;
  std::int64_t warmup = 0;  // steps
  std::int64_t total = 0;   // steps

  // Linear from 0 to the peak over the warm-up, both ends included, then half a cosine to the floor; the peak is
  // reached twice, as in the official tables (cae.md section 5.1). A warm-up of one step is [0].
  double at(std::int64_t step) const;
};

}  // namespace lacuna
