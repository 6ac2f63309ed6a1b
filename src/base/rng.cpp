#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace lacuna {
namespace {

std::uint64_t mix(std::uint64_t z) {  // splitmix64's finaliser
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Counter layout: word 0 counts blocks, word 1 is the low half of the epoch, words 2-3 the sample. The high half of the
// epoch goes into the key with seed and purpose, so a stream holds 2^34 words before it could meet another.
Rng::Rng(std::uint64_t seed, Purpose purpose, std::uint64_t epoch, std::uint64_t sample) {
  const std::uint64_t key =
      mix(mix(seed + 0x9E3779B97F4A7C15ull) ^ (static_cast<std::uint64_t>(purpose) << 32 | (epoch >> 32)));
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  counter_ = {0, static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(sample),
              static_cast<std::uint32_t>(sample >> 32)};
}

void Rng::refill() {
  block_ = philox4x32(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

std::uint32_t Rng::bits() {
  if (used_ == 4) refill();
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Rng::bits64() {
  const std::uint64_t high = bits();
  return high << 32 | bits();
}

double Rng::uniform() { return static_cast<double>(bits64() >> 11) * 0x1.0p-53; }

double Rng::uniform(double low, double high) { return low + (high - low) * uniform(); }

std::int64_t Rng::integer(std::int64_t low, std::int64_t high) {
  invariant(low <= high, "Rng::integer: empty range [", low, ", ", high, "]");
  const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
  if (range == 0) return static_cast<std::int64_t>(bits64());
  const std::uint64_t limit = (0 - range) % range;  // rejection removes the bias of the modulus
  std::uint64_t draw = bits64();
  while (draw < limit) draw = bits64();
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + draw % range);
}

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

bool Rng::chance(double probability) { return uniform() < probability; }

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return mix(hash);
}

}  // namespace lacuna
