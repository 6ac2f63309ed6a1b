#pragma once
// What a loss needs of the other processes of a run. One process alone is the usual case; others implement the same
// interface over their transport.

#include "nn/torch.h"

namespace lacuna {

class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int64_t rank() const { return 0; }
  virtual int64_t world() const { return 1; }

  // Every rank's rows one after the other, [b,...] -> [world b,...]. Its backward gives each rank the sum of all ranks'
  // gradients of its own rows, so that a loss over local rows has the gradient of the loss over all of them.
  virtual at::Tensor gather(const at::Tensor& local) const { return local; }

  // Sum over ranks, without gradient.
  virtual at::Tensor sum(const at::Tensor& local) const { return local; }
};

inline const Ranks& one_rank() {
  static const Ranks kOne;
  return kOne;
}

}  // namespace lacuna
