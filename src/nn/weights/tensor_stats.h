#pragma once
// Figures of stored tensors of any type, computed in double straight from the file's bytes.

#include <cstdint>

#include "io/tensor/tensor_file.h"

namespace lacuna {

struct TensorStats {
  std::int64_t count = 0, nan = 0, infinite = 0, zeros = 0;
  // Of the finite values; NaN where there are none.
  double min = 0, max = 0, mean = 0, std = 0;  // std of the values themselves, not of a population they come from
};
TensorStats stats_of(const TensorInfo& tensor);

struct TensorDifference {
  bool same_shape = false;
  bool identical = false;   // same type, shape and bytes
  double largest = 0;       // |a - b|; equal infinities and NaN in the same place differ by 0, else infinite
  double relative = 0;      // the same over the largest finite |a|; over 1 where all of a is 0
  std::int64_t differ = 0;  // elements of different value
};
// Values are compared only where the shapes agree.
TensorDifference difference(const TensorInfo& a, const TensorInfo& b);

}  // namespace lacuna
