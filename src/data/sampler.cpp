#include "data/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

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

// The value at `position` of a permutation of [0, size). Cycle walking: outside, permute again. The cycle returns
// inside at the latest where it entered.
std::int64_t permuted(std::int64_t size, std::int64_t position, Rng keys) {
  const std::array<std::uint32_t, 2> key{keys.bits(), keys.bits()};
  const int half_bits = half_bits_for(size);
  auto value = static_cast<std::uint64_t>(position);
  do {
    value = feistel(value, half_bits, key);
  } while (value >= static_cast<std::uint64_t>(size));
  return static_cast<std::int64_t>(value);
}

// The shares of `total` by weight, in whole numbers: rounded down, and the rest to the largest remainders.
std::vector<std::int64_t> quotas(std::span<const SourcePart> parts, std::int64_t total) {
  double sum = 0;
  for (const SourcePart& part : parts) sum += part.weight;
  std::vector<std::int64_t> shares;
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t given = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double exact = static_cast<double>(total) * (parts[i].weight / sum);
    shares.push_back(std::min(static_cast<std::int64_t>(exact), total - given));
    given += shares.back();
    remainders.emplace_back(static_cast<double>(shares.back()) - exact, i);
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; given < total; i = (i + 1) % parts.size(), ++given) ++shares[remainders[i].second];
  return shares;
}

}  // namespace

Order::Order(std::span<const SourcePart> parts, std::int64_t batch, std::uint64_t seed, std::int64_t rank,
             std::int64_t world)
    : batch_(batch), seed_(seed), rank_(rank), world_(world) {
  for (const SourcePart& part : parts) size_ += part.size;
  check(size_ > 0, "the source holds no samples");
  check(batch > 0, "batch size: expected at least 1, found ", batch);
  invariant(world > 0 && rank >= 0 && rank < world, "Order: rank ", rank, " of ", world);
  check(batch <= size_, "batch size: expected at most the number of samples, ", size_,
        ", so that an epoch holds a batch; found ", batch, ". Choose a batch size of ",
        std::max(size_ / world * world, world), " or less, or add images");
  check(batch % world == 0, "batch size: expected a multiple of the ", world, " processes, found ", batch);
  const std::vector<std::int64_t> shares = quotas(parts, size_);
  std::int64_t first = 0, first_place = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    check(shares[i] > 0, "data.weights: source ", i + 1, " of ", parts.size(), " has weight ", parts[i].weight,
          ", too little for a single one of the ", size_, " samples of an epoch; raise it, or leave the source out");
    parts_.push_back({parts[i].size, first, shares[i], first_place});
    first += parts[i].size;
    first_place += shares[i];
  }
}

std::int64_t Order::index(std::int64_t epoch, std::int64_t position) const {
  invariant(epoch >= 0 && position >= 0 && position < size_, "Order: position ", position, " of ", size_, ", epoch ",
            epoch);
  const std::int64_t place =
      permuted(size_, position, Rng(seed_, Purpose::kShuffle, static_cast<std::uint64_t>(epoch)));
  if (parts_.size() == 1) return place;
  std::size_t part = 0;
  while (place >= parts_[part].first_place + parts_[part].quota) ++part;
  return draw_of(parts_[part], part, epoch, place - parts_[part].first_place);
}

// Of all draws of a part since the beginning, this is number epoch * quota + place; its passes have `size` draws each.
std::int64_t Order::draw_of(const Part& part, std::uint64_t number, std::int64_t epoch, std::int64_t place) const {
  const std::int64_t draws = epoch * part.quota + place;
  const std::int64_t pass = draws / part.size, first_pass = epoch * part.quota / part.size;
  const Rng keys(seed_, Purpose::kShuffle, static_cast<std::uint64_t>(pass), number + 1);
  return part.first + permuted(part.size, draws % part.size, keys) + size_ * (pass - first_pass);
}

std::int64_t Order::at(std::int64_t step, std::int64_t slot) const {
  const std::int64_t first = step % steps_per_epoch() * batch_;
  return index(epoch_of(step), first + slot * world_ + rank_);
}

}  // namespace lacuna
