#pragma once
// The order of an epoch, as a function: no shuffled list is stored, any position is computed on its own.
//
// An epoch visits size / batch (rounded down) global batches; the samples left over are others in the next epoch. Slot
// g of a global batch belongs to rank g mod world, so the global order does not depend on the number of ranks, and an
// epoch is cut for all of them at the same place: at the last whole global batch.
//
// Sources with weights: the size of an epoch is the number of all samples; of its positions each source gets its share
// by weight, the same number in every epoch. A source goes through its own samples in passes, each a new permutation,
// and takes up in an epoch where it ended in the one before. So no sample of a source comes a second time before all
// others of it have come, whatever the weights; a source of small weight needs several epochs for one pass, one of
// large weight shows its samples several times in an epoch.

#include <cstdint>
#include <span>
#include <vector>

#include "data/source/source.h"

namespace lacuna {

class Order {
 public:
  // `batch` is global. Throws Error when the batch is larger than the source, not a multiple of `world`, or a weight is
  // too small for a single sample of an epoch.
  Order(std::span<const SourcePart> parts, std::int64_t batch, std::uint64_t seed, std::int64_t rank = 0,
        std::int64_t world = 1);
  Order(std::int64_t size, std::int64_t batch, std::uint64_t seed, std::int64_t rank = 0, std::int64_t world = 1)
      : Order(std::vector<SourcePart>{{size, 1.0}}, batch, seed, rank, world) {}

  std::int64_t size() const { return size_; }
  std::int64_t steps_per_epoch() const { return size_ / batch_; }
  std::int64_t local_batch() const { return batch_ / world_; }
  std::int64_t epoch_of(std::int64_t step) const { return step / steps_per_epoch(); }

  // The draw at `position` in [0, size) of an epoch, named by (seed, epoch). Its sample is draw mod size; draw / size
  // counts the passes that a source of large weight has begun in this epoch, so that no two draws of an epoch are
  // equal. Of a single source the draws of an epoch are a permutation of [0, size).
  std::int64_t index(std::int64_t epoch, std::int64_t position) const;

  // The draw in slot [0, local_batch) of this rank at a global step.
  std::int64_t at(std::int64_t step, std::int64_t slot) const;

  std::int64_t sample(std::int64_t draw) const { return draw % size_; }

 private:
  struct Part {
    std::int64_t size, first;         // its samples: [first, first + size)
    std::int64_t quota, first_place;  // its places in an epoch: [first_place, first_place + quota)
  };

  std::int64_t draw_of(const Part& part, std::uint64_t number, std::int64_t epoch, std::int64_t place) const;

  std::int64_t size_ = 0, batch_;
  std::uint64_t seed_;
  std::int64_t rank_, world_;
  std::vector<Part> parts_;
};

}  // namespace lacuna
