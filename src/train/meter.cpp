#include "train/meter.h"

#include <algorithm>

namespace lacuna {

void Meter::add(const std::string& name, const at::Tensor& value) {
  auto found = std::find_if(sums_.begin(), sums_.end(), [&](const Sum& sum) { return sum.name == name; });
  if (found == sums_.end()) found = sums_.insert(sums_.end(), Sum{.name = name, .total = {}, .count = 0});
  const at::Tensor wide = value.detach().to(at::kDouble);
  found->total = found->count == 0 ? wide : found->total + wide;
  ++found->count;
}

std::vector<Metric> Meter::take() {
  std::vector<Metric> out;
  for (Sum& sum : sums_) {
    if (sum.count == 0) continue;
    out.push_back({sum.name, sum.total.item<double>() / static_cast<double>(sum.count)});
    sum.count = 0;
  }
  return out;
}

}  // namespace lacuna
