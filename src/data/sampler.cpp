#include "data/sampler.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

constexpr std::uint32_t kRounds = 8;

// A Feistel network over 2 * half_bits bits is a permutation whatever its round function is (Luby and Rackoff, "How to
// construct pseudorandom permutations", SIAM J. Comput. 1988); here that is Philox under the epoch's key.
std::uint64_t feistel(std::uint64_t value, int half_bits, std::array<std::uint32_t, 2> key) {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t left = value >> half_bits, right = value & mask;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const auto mixed = philox4x32({static_cast<std::uint32_t>(right), round, 0, 0}, key);
    const std::uint64_t next = left ^ (mixed[0] & mask);
    left = right;
    right = next;
  }
  return left << half_bits | right;
}

// Half of the bits that hold [0, size), rounded up, so that the domain is below 4 * size. Not below 2: over two bits in
// all, the network reaches few of the permutations.
int half_bits_for(std::int64_t size) {
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size - 1)));
  return std::max(2, (bits + 1) / 2);
}

}  // namespace

Order::Order(std::int64_t size, std::int64_t batch, std::uint64_t seed, std::int64_t rank, std::int64_t world)
    : size_(size), batch_(batch), seed_(seed), rank_(rank), world_(world) {
  check(size > 0, "the source holds no samples");
  check(batch > 0, "batch size: expected at least 1, found ", batch);
  invariant(world > 0 && rank >= 0 && rank < world, "Order: rank ", rank, " of ", world);
  check(batch <= size, "batch size: expected at most the number of samples, ", size,
        ", so that an epoch holds a batch; found ", batch, ". Choose a batch size of ",
        std::max(size / world * world, world), " or less, or add images");
  check(batch % world == 0, "batch size: expected a multiple of the ", world, " processes, found ", batch);
  half_bits_ = half_bits_for(size);
}

// Cycle walking: outside [0, size), permute again. The cycle returns inside at the latest where it entered.
std::int64_t Order::index(std::int64_t epoch, std::int64_t position) const {
  invariant(epoch >= 0 && position >= 0 && position < size_, "Order: position ", position, " of ", size_, ", epoch ",
            epoch);
  Rng keys(seed_, Purpose::kShuffle, static_cast<std::uint64_t>(epoch));
  const std::array<std::uint32_t, 2> key{keys.bits(), keys.bits()};
  auto value = static_cast<std::uint64_t>(position);
  do {
    value = feistel(value, half_bits_, key);
  } while (value >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(value);
}

std::int64_t Order::at(std::int64_t step, std::int64_t slot) const {
  const std::int64_t first = step % steps_per_epoch() * batch_;
  return index(epoch_of(step), first + slot * world_ + rank_);
}

}  // namespace lacuna
