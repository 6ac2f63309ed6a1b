#include "eval/accuracy.h"

#include <limits>

#include "base/error.h"

namespace lacuna {

at::Tensor places_of(const at::Tensor& scores, const at::Tensor& labels) {
  const at::Tensor classes = at::arange(scores.size(-1), labels.options());
  const at::Tensor truth = labels.unsqueeze(-1).expand_as(scores.narrow(-1, 0, 1));
  const at::Tensor own = scores.gather(-1, truth);
  const at::Tensor ahead = scores.gt(own).logical_or_(scores.eq(own).logical_and_(classes.lt(truth)));
  return ahead.sum(-1).masked_fill_(own.squeeze(-1).isnan(), std::numeric_limits<int64_t>::max());
}

Accuracy accuracy_of(const at::Tensor& places, std::int64_t few) {
  const int64_t n = places.size(0);
  invariant(places.dim() == 1 && n > 0, "accuracy of no samples");
  const auto percent = [&](int64_t first) {
    return 100.0 * static_cast<double>(places.lt(first).sum().item<int64_t>()) / static_cast<double>(n);
  };
  return {percent(1), percent(few), n};
}

}  // namespace lacuna
