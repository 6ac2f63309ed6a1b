#pragma once
// The order of an epoch, as a function: no shuffled list is stored, any position is computed on its own.
//
// An epoch visits size / batch (rounded down) global batches; the samples left over are others in the next epoch. Slot
// g of a global batch belongs to rank g mod world, so the global order does not depend on the number of ranks.

#include <cstdint>

namespace lacuna {

class Order {
 public:
  // `batch` is global. Throws Error when the batch is larger than the source or not a multiple of `world`.
  Order(std::int64_t size, std::int64_t batch, std::uint64_t seed, std::int64_t rank = 0, std::int64_t world = 1);

  std::int64_t steps_per_epoch() const { return size_ / batch_; }
  std::int64_t local_batch() const { return batch_ / world_; }
  std::int64_t epoch_of(std::int64_t step) const { return step / steps_per_epoch(); }

  // The sample at `position` in [0, size) of an epoch: a bijection of [0, size) named by (seed, epoch).
  std::int64_t index(std::int64_t epoch, std::int64_t position) const;

  // The sample in slot [0, local_batch) of this rank at a global step.
  std::int64_t at(std::int64_t step, std::int64_t slot) const;

 private:
  std::int64_t size_, batch_;
  std::uint64_t seed_;
  std::int64_t rank_, world_;
  int half_bits_;
};

}  // namespace lacuna
