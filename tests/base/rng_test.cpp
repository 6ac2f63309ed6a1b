#include "base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <vector>

namespace lacuna {
namespace {

using Block = std::array<std::uint32_t, 4>;

// The known answers that come with Random123.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, AStreamIsAFunctionOfItsName) {
  Rng first(3, Purpose::kCrop, 5, 7);
  Rng second(3, Purpose::kCrop, 5, 7);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(first.bits(), second.bits());
}

TEST(Rng, EveryPartOfTheNameMakesAnotherStream) {
  std::set<std::uint64_t> firsts;
  std::size_t streams = 0;
  const auto add = [&](std::uint64_t seed, Purpose purpose, std::uint64_t epoch, std::uint64_t sample) {
    firsts.insert(Rng(seed, purpose, epoch, sample).bits64());
    ++streams;
  };
  constexpr std::uint64_t kHigh = std::uint64_t{1} << 32;  // the high halves count too
  add(0, Purpose::kCrop, 0, 0);
  for (const std::uint64_t value : {std::uint64_t{1}, std::uint64_t{2}, kHigh, 2 * kHigh, kHigh + 1}) {
    add(value, Purpose::kCrop, 0, 0);
    add(0, Purpose::kCrop, value, 0);
    add(0, Purpose::kCrop, 0, value);
    add(0, Purpose::kFlip, 0, value);
  }
  EXPECT_EQ(firsts.size(), streams);
}

double correlation(Rng a, Rng b, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  return 12 * sum / count;
}

TEST(Rng, NeighbouringStreamsAreUncorrelated) {
  constexpr int kCount = 20'000;
  const double limit = 4 / std::sqrt(kCount);
  for (std::uint64_t i = 0; i < 10; ++i) {
    EXPECT_LT(std::abs(correlation(Rng(1, Purpose::kCrop, 0, i), Rng(1, Purpose::kCrop, 0, i + 1), kCount)), limit);
    EXPECT_LT(std::abs(correlation(Rng(1, Purpose::kCrop, i, 0), Rng(1, Purpose::kCrop, i + 1, 0), kCount)), limit);
    EXPECT_LT(std::abs(correlation(Rng(i, Purpose::kCrop), Rng(i + 1, Purpose::kCrop), kCount)), limit);
    EXPECT_LT(std::abs(correlation(Rng(i, Purpose::kCrop), Rng(i, Purpose::kFlip), kCount)), limit);
  }
}

// Chi-square with 99 degrees of freedom: the limit is five standard deviations above the mean.
TEST(Rng, UniformFillsTheUnitIntervalEvenly) {
  Rng rng(11, Purpose::kTest);
  constexpr int kDraws = 100'000, kCells = 100;
  std::vector<int> cells(kCells);
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    ++cells[static_cast<std::size_t>(value * kCells)];
  }
  double chi_square = 0;
  for (const int cell : cells) chi_square += std::pow(cell - kDraws / kCells, 2) / (kDraws / kCells);
  EXPECT_LT(chi_square, 99 + 5 * std::sqrt(2 * 99.0));
  EXPECT_GT(chi_square, 99 - 5 * std::sqrt(2 * 99.0));
}

TEST(Rng, FirstNumbersOfManyStreamsAreUniform) {
  constexpr int kStreams = 50'000;
  double sum = 0, squares = 0;
  for (std::uint64_t sample = 0; sample < kStreams; ++sample) {
    const double value = Rng(1, Purpose::kMask, 2, sample).uniform();
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kStreams, 1.0 / 2, 0.006);
  EXPECT_NEAR(squares / kStreams, 1.0 / 3, 0.006);
}

TEST(Rng, IntegersReachBothEndsAndNothingElse) {
  Rng rng(2, Purpose::kTest);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) {
    const std::int64_t value = rng.integer(-3, 3);
    ASSERT_GE(value, -3);
    ASSERT_LE(value, 3);
    ++counts[static_cast<std::size_t>(value + 3)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
}

TEST(Rng, IntegersHandleExtremeRanges) {
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHigh = std::numeric_limits<std::int64_t>::max();
  Rng rng(3, Purpose::kTest);
  EXPECT_EQ(rng.integer(5, 5), 5);
  EXPECT_EQ(rng.integer(kLow, kLow), kLow);
  EXPECT_EQ(rng.integer(kHigh, kHigh), kHigh);
  int negative = 0;
  for (int i = 0; i < 1000; ++i) negative += rng.integer(kLow, kHigh) < 0;
  EXPECT_NEAR(negative, 500, 80);
  for (int i = 0; i < 1000; ++i) EXPECT_LE(rng.integer(kLow, 0), 0);
  EXPECT_THROW(rng.integer(1, 0), std::logic_error);
}

TEST(Rng, NormalHasTheMomentsOfAStandardNormal) {
  Rng rng(4, Purpose::kTest);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0, fourths = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1, 0.023);
  EXPECT_NEAR(fourths / kDraws, 3, 0.16);
}

TEST(Rng, ChanceHoldsItsProbability) {
  Rng rng(5, Purpose::kTest);
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) {
    hits += rng.chance(0.3);
    EXPECT_FALSE(rng.chance(0));
    EXPECT_TRUE(rng.chance(1));
  }
  EXPECT_NEAR(hits, 3000, 230);
}

TEST(HashName, TellsNamesApart) {
  std::set<std::uint64_t> hashes;
  for (const char* name : {"", "a", "b", "ab", "ba", "blocks.0.attn", "blocks.1.attn"}) hashes.insert(hash_name(name));
  EXPECT_EQ(hashes.size(), 7u);
}

}  // namespace
}  // namespace lacuna
