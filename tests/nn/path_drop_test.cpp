#include "nn/path_drop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "nn/vit.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

TEST(PathDrop, RatesRiseLinearlyFromZero) {
  EXPECT_EQ(path_drop_rate(0.1, 0, 4), 0);
  EXPECT_NEAR(path_drop_rate(0.1, 1, 4), 0.1 / 3, 1e-15);
  EXPECT_DOUBLE_EQ(path_drop_rate(0.1, 3, 4), 0.1);
  EXPECT_EQ(path_drop_rate(0.1, 0, 1), 0) << "a single block drops nothing";
}

TEST(PathDrop, KeepsInTheMeanWhatItDrops) {
  std::vector<int64_t> samples(20000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  SeededPathDrop drop(1, 0, samples);
  const std::vector<double> factors = drop.factors(0.3, static_cast<int64_t>(samples.size()));
  double sum = 0;
  for (const double f : factors) {
    EXPECT_TRUE(f == 0 || f == 1 / 0.7);
    sum += f;
  }
  EXPECT_NEAR(sum / static_cast<double>(factors.size()), 1.0, 4.5 * std::sqrt(0.3 / 0.7 / 20000));
}

TEST(PathDrop, ASamplesDrawsDoNotDependOnItsBatch) {
  const std::vector<int64_t> alone = {7}, among = {3, 7, 9};
  SeededPathDrop a(1, 2, alone), b(1, 2, among);
  for (int branch = 0; branch < 50; ++branch) EXPECT_EQ(a.factors(0.5, 1)[0], b.factors(0.5, 3)[1]) << branch;
  EXPECT_THROW(a.factors(0.5, 2), std::logic_error);
}

TEST(PathDrop, ABranchIsAddedWhollyWithoutDropOrRate) {
  const at::Tensor x = unit_tensor("x", {2, 3, 4}), y = unit_tensor("y", {2, 3, 4});
  const std::vector<int64_t> samples = {0, 1};
  SeededPathDrop drop(1, 0, samples), untouched(1, 0, samples);
  EXPECT_TRUE(add_branch(x, y, 0.5, nullptr).equal(x + y));
  EXPECT_TRUE(add_branch(x, y, 0, &drop).equal(x + y));
  EXPECT_EQ(drop.factors(0.5, 2), untouched.factors(0.5, 2)) << "a rate of 0 must draw nothing";
}

TEST(PathDrop, ADroppedBranchLeavesItsSampleAlone) {
  class Half : public PathDrop {
    std::vector<double> factors(double, int64_t) override { return {0, 2}; }
  } half;
  const at::Tensor x = unit_tensor("x", {2, 3, 4}), y = unit_tensor("y", {2, 3, 4});
  const at::Tensor sum = add_branch(x, y, 0.5, &half);
  EXPECT_TRUE(sum[0].equal(x[0]));
  EXPECT_TRUE(sum[1].equal(x[1] + 2 * y[1]));
}

}  // namespace
}  // namespace lacuna
