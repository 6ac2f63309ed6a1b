#include "eval/linear_probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "eval/toys.h"

namespace lacuna {
namespace {

using testing::clusters;
using testing::error_of;

TEST(LinearProbe, SolvesSeparableClasses) {
  const ProbeResult found =
      linear_probe(clusters(600, 10, 32, 0.3, 0), clusters(200, 10, 32, 0.3, 1), {.epochs = 30, .warmup = 3});
  EXPECT_GE(found.accuracy.top1, 99.5);
  EXPECT_EQ(found.accuracy.top5, 100.0);
  EXPECT_EQ(found.accuracy.samples, 200);
  EXPECT_EQ(found.train_samples, 600);
  EXPECT_EQ(found.held_out_samples, 60);
  EXPECT_EQ(found.trials.size(), 11u);
}

TEST(LinearProbe, SolvesThemWithSgdAndOneRateToo) {
  const ProbeConfig config{.update = {.rule = ProbeRule::kSgd}, .epochs = 20, .warmup = 2, .rates = {0.02}};
  const ProbeResult found = linear_probe(clusters(600, 10, 32, 0.3, 0), clusters(200, 10, 32, 0.3, 1), config);
  EXPECT_GE(found.accuracy.top1, 99.5);
  EXPECT_TRUE(found.trials.empty());
  EXPECT_EQ(found.held_out_samples, 0);
  EXPECT_EQ(found.rate, 0.02);
  EXPECT_EQ(found.batch, 18);
}

TEST(LinearProbe, FeaturesWithoutInformationGiveChance) {
  const ProbeResult found =
      linear_probe(clusters(1000, 10, 16, 1e4, 0), clusters(1000, 10, 16, 1e4, 1), {.epochs = 5, .warmup = 1});
  EXPECT_NEAR(found.accuracy.top1, 10.0, 4.0);
}

TEST(LinearProbe, IsDeterministicAndNamedByItsSeed) {
  const Features train = clusters(200, 5, 8, 2.0, 0), val = clusters(100, 5, 8, 2.0, 1);
  ProbeConfig config{.epochs = 6, .warmup = 1};
  const ProbeResult first = linear_probe(train, val, config), second = linear_probe(train, val, config);
  ASSERT_EQ(first.trials.size(), second.trials.size());
  for (std::size_t i = 0; i < first.trials.size(); ++i) EXPECT_EQ(first.trials[i].loss, second.trials[i].loss);
  EXPECT_EQ(first.accuracy.top1, second.accuracy.top1);
  config.seed = 1;
  EXPECT_NE(linear_probe(train, val, config).trials[0].loss, first.trials[0].loss);
}

TEST(LinearProbe, TheRateIsTheBestOnHeldOutTrainingRowsWhateverTheValidationSaysOfIt) {
  const Features train = clusters(300, 5, 8, 1.5, 0);
  Features val = clusters(100, 5, 8, 1.5, 1);
  const ProbeConfig config{.epochs = 10, .warmup = 1};
  const ProbeResult found = linear_probe(train, val, config);
  for (const ProbeTrial& trial : found.trials) {
    EXPECT_EQ(trial.held_out.samples, 30);
    if (trial.rate == found.rate) continue;
    const auto chosen = std::find_if(found.trials.begin(), found.trials.end(),
                                     [&](const ProbeTrial& t) { return t.rate == found.rate; });
    ASSERT_NE(chosen, found.trials.end());
    EXPECT_GE(chosen->held_out.top1, trial.held_out.top1);
  }
  val.labels = (val.labels + 1).remainder(5);
  const ProbeResult other = linear_probe(train, val, config);
  EXPECT_EQ(other.rate, found.rate);
  EXPECT_NE(other.accuracy.top1, found.accuracy.top1);
}

TEST(LinearProbe, HeadsThatDivergeAreNotChosen) {
  const Features train = clusters(300, 5, 8, 1.0, 0), val = clusters(100, 5, 8, 1.0, 1);
  ProbeConfig config{.update = {.rule = ProbeRule::kSgd}, .epochs = 5, .warmup = 0, .rates = {1e42, 0.1}};
  const ProbeResult found = linear_probe(train, val, config);
  EXPECT_FALSE(std::isfinite(found.trials[0].loss));
  EXPECT_EQ(found.rate, found.trials[1].rate);
  EXPECT_GT(found.accuracy.top1, 60.0);
  config.rates = {1e42};
  EXPECT_NE(error_of([&] { linear_probe(train, val, config); }).find("diverged"), std::string::npos);
}

TEST(LinearProbe, ConstantFeaturesAreNoFault) {
  Features train = clusters(100, 4, 6, 1.0, 0), val = clusters(40, 4, 6, 1.0, 1);
  train.values.fill_(7.0);
  val.values.fill_(7.0);
  EXPECT_NEAR(linear_probe(train, val, {.epochs = 4, .warmup = 1}).accuracy.top1, 25.0, 1e-9);
}

TEST(LinearProbe, SmallTrainingSetsAreOneBatch) {
  const ProbeResult found = linear_probe(clusters(12, 3, 8, 0.1, 0), clusters(9, 3, 8, 0.1, 1), {});
  EXPECT_EQ(found.batch, 12);
  EXPECT_EQ(found.held_out_samples, 1);
  EXPECT_EQ(found.accuracy.top1, 100.0);
  EXPECT_EQ(
      linear_probe(clusters(40, 3, 8, 0.1, 0), clusters(9, 3, 8, 0.1, 1), {.epochs = 2, .warmup = 0, .batch = 4096})
          .batch,
      40);
}

TEST(LinearProbe, BatchGrowsWithTheDataWithinItsBounds) {
  EXPECT_EQ(probe_batch(9), 9);
  EXPECT_EQ(probe_batch(100), 16);
  EXPECT_EQ(probe_batch(3200), 100);
  EXPECT_EQ(probe_batch(1281167), 1024);
}

TEST(LinearProbe, ProgressCountsTheEpochsOfBothRuns) {
  std::int64_t last = 0, calls = 0, all = 0;
  linear_probe(clusters(50, 2, 4, 1.0, 0), clusters(10, 2, 4, 1.0, 1), {.epochs = 3, .warmup = 1},
               [&](std::int64_t done, std::int64_t total) {
                 EXPECT_EQ(done, last + 1);
                 last = done;
                 all = total;
                 ++calls;
               });
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(all, 6);
}

TEST(LinearProbe, MistakesAreSaidInWords) {
  const Features train = clusters(20, 2, 4, 1, 0), val = clusters(6, 2, 4, 1, 1);
  const auto says = [&](const ProbeConfig& config, const char* what) {
    EXPECT_NE(error_of([&] { linear_probe(train, val, config); }).find(what), std::string::npos) << what;
  };
  says({.epochs = 5, .warmup = 5}, "linear.warmup");
  says({.batch = 1}, "linear.batch");
  says({.rates = {}}, "linear.rates");
  says({.rates = {1, -1}}, "linear.rates");
  says({.held_out = 0.001}, "hold out");
  EXPECT_NE(error_of([&] { linear_probe(testing::head_of(train, 1), val, {}); }).find("at least 2 training samples"),
            std::string::npos);
  EXPECT_NE(error_of([&] { linear_probe(train, clusters(6, 3, 4, 1, 1), {}); }).find("'class2'"), std::string::npos);
}

}  // namespace
}  // namespace lacuna
