#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/error.h"

namespace lacuna {
namespace {

std::vector<std::int64_t> epoch_order(const Order& order, std::int64_t size, std::int64_t epoch) {
  std::vector<std::int64_t> visited;
  for (std::int64_t i = 0; i < size; ++i) visited.push_back(order.index(epoch, i));
  return visited;
}

TEST(Order, IsABijectionForEverySize) {
  for (const std::int64_t size :
       {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 64, 97, 100, 127, 128, 129, 1000, 1009, 4096, 4097, 65537}) {
    const Order order(size, 1, 5);
    for (const std::int64_t epoch : {0, 1, 7}) {
      std::vector<std::int64_t> visited = epoch_order(order, size, epoch);
      std::sort(visited.begin(), visited.end());
      for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(visited[static_cast<std::size_t>(i)], i) << "size " << size;
    }
  }
}

TEST(Order, StaysInsideAHugeSource) {
  const std::int64_t size = (std::int64_t{1} << 62) + 12345;
  const Order order(size, 256, 1);
  std::set<std::int64_t> visited;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::int64_t id = order.index(3, size - 1 - i);
    ASSERT_GE(id, 0);
    ASSERT_LT(id, size);
    visited.insert(id);
  }
  EXPECT_EQ(visited.size(), 1000u);
}

TEST(Order, DiffersBetweenEpochsAndSeedsAndIsReproducible) {
  const Order order(1000, 10, 1), again(1000, 10, 1), other(1000, 10, 2);
  EXPECT_EQ(epoch_order(order, 1000, 4), epoch_order(again, 1000, 4));
  EXPECT_NE(epoch_order(order, 1000, 0), epoch_order(order, 1000, 1));
  EXPECT_NE(epoch_order(order, 1000, 0), epoch_order(other, 1000, 0));
}

// Each sample should be found at each position equally often over epochs: chi-square over 16 positions.
TEST(Order, SpreadsSamplesEvenly) {
  constexpr int kSize = 16, kEpochs = 8000;
  const Order order(kSize, 1, 3);
  for (std::int64_t position = 0; position < kSize; ++position) {
    std::vector<double> count(kSize);
    for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      ++count[static_cast<std::size_t>(order.index(epoch, position))];
    }
    double chi_square = 0;
    for (const double n : count) chi_square += std::pow(n - kEpochs / kSize, 2) / (kEpochs / kSize);
    EXPECT_LT(chi_square, 48) << "position " << position;  // 15 degrees of freedom: p = 3e-5
  }
}

TEST(Order, NeighboursAreUnrelated) {
  const std::int64_t size = 10000;
  const Order order(size, 1, 9);
  double product = 0, square = 0;
  for (std::int64_t i = 0; i + 1 < size; ++i) {
    const double a = static_cast<double>(order.index(0, i)) - 4999.5,
                 b = static_cast<double>(order.index(0, i + 1)) - 4999.5;
    product += a * b;
    square += a * a;
  }
  EXPECT_LT(std::abs(product / square), 0.04);  // four standard deviations
}

TEST(Order, AnEpochVisitsNoSampleTwiceAndLeavesOutTheRest) {
  const Order order(103, 10, 1);
  EXPECT_EQ(order.steps_per_epoch(), 10);
  std::set<std::int64_t> all;
  for (std::int64_t epoch = 0; epoch < 8; ++epoch) {
    std::set<std::int64_t> visited;
    for (std::int64_t step = epoch * 10; step < epoch * 10 + 10; ++step) {
      EXPECT_EQ(order.epoch_of(step), epoch);
      for (std::int64_t slot = 0; slot < 10; ++slot) visited.insert(order.at(step, slot));
    }
    EXPECT_EQ(visited.size(), 100u);
    all.merge(visited);
  }
  EXPECT_EQ(all.size(), 103u);  // what one epoch leaves out, others visit
}

TEST(Order, RanksShareTheGlobalOrder) {
  const Order whole(100, 12, 1);
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    const Order part(100, 12, 1, rank, 3);
    EXPECT_EQ(part.local_batch(), 4);
    for (std::int64_t step = 0; step < 20; ++step) {
      for (std::int64_t slot = 0; slot < 4; ++slot) EXPECT_EQ(part.at(step, slot), whole.at(step, slot * 3 + rank));
    }
  }
}

// All draws of a part, in the order of its passes, cut into passes: each must be a permutation.
TEST(Order, WeightedSourcesGoThroughTheirSamplesInPasses) {
  const std::vector<SourcePart> parts{{70, 1.0}, {11, 3.0}, {300, 2.5}};
  const std::int64_t size = 381;
  const Order order(parts, 10, 4);
  std::vector<std::int64_t> times(static_cast<std::size_t>(size));
  std::vector<std::int64_t> quota(3);
  for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
    std::set<std::int64_t> draws;
    std::vector<std::int64_t> now(3);
    for (std::int64_t i = 0; i < size; ++i) {
      const std::int64_t draw = order.index(epoch, i), sample = order.sample(draw);
      EXPECT_TRUE(draws.insert(draw).second) << "a draw came twice in epoch " << epoch;
      ++now[sample < 70 ? 0 : sample < 81 ? 1 : 2];
      ++times[static_cast<std::size_t>(sample)];
    }
    if (epoch == 0) quota = now;
    EXPECT_EQ(now, quota);
    // Nobody is more than one pass ahead of another sample of the same source.
    for (const auto& [from, to] : {std::pair{0, 70}, {70, 81}, {81, 381}}) {
      const auto [least, most] = std::minmax_element(times.begin() + from, times.begin() + to);
      EXPECT_LE(*most - *least, 1) << "epoch " << epoch;
    }
  }
  EXPECT_NEAR(static_cast<double>(quota[0]), 381 / 6.5, 1);
  EXPECT_NEAR(static_cast<double>(quota[1]), 381 * 3 / 6.5, 1);
  EXPECT_EQ(quota[0] + quota[1] + quota[2], size);
}

TEST(Order, SourcesWithoutWeightsAreVisitedOncePerEpoch) {
  const std::vector<SourcePart> parts{{70, 70.0}, {11, 11.0}};
  const Order order(parts, 1, 4);
  std::vector<std::int64_t> visited = epoch_order(order, 81, 3);
  EXPECT_NE(visited, epoch_order(order, 81, 4));
  std::sort(visited.begin(), visited.end());
  for (std::int64_t i = 0; i < 81; ++i) EXPECT_EQ(visited[static_cast<std::size_t>(i)], i);
  EXPECT_THROW(Order(std::vector<SourcePart>{{100, 1.0}, {100, 1e-9}}, 1, 0), Error);
}

TEST(Order, RefusesABatchLargerThanTheSource) {
  try {
    Order(10, 64, 0);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("64"), std::string::npos) << text;
    EXPECT_NE(text.find("Choose a batch size of 10 or less"), std::string::npos) << text;
  }
  EXPECT_THROW(Order(10, 0, 0), Error);
  EXPECT_THROW(Order(0, 1, 0), Error);
  EXPECT_THROW(Order(10, 5, 0, 0, 2), Error);
}

}  // namespace
}  // namespace lacuna
