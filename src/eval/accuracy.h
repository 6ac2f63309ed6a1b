#pragma once
// How often the true class is the first, or among the first five.

#include <cstdint>

#include "nn/torch.h"

namespace lacuna {

struct Accuracy {
  double top1 = 0;  // percent
  double top5 = 0;  // percent; of all classes where there are fewer than five
  std::int64_t samples = 0;
};

// The place of the true class among the scores, 0 for the first. scores [...,C], labels [...] int64 or broadcast to it.
// Equal scores are ordered by class, the lower one first. A true class whose score is not a number is beyond any place.
at::Tensor places_of(const at::Tensor& scores, const at::Tensor& labels);

// places [n], n > 0. `few` replaces the five of top-5.
Accuracy accuracy_of(const at::Tensor& places, std::int64_t few = 5);

}  // namespace lacuna
