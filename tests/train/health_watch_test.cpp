#include "train/health_watch.h"

#include <gtest/gtest.h>

namespace lacuna {
namespace {

using Figures = std::vector<Metric>;

Figures cosines(double reached, double trivial) {
  return {{"target/cosine", reached}, {"target/cosine_trivial", trivial}};
}

TEST(HealthWatch, SaysOnceThatNothingIsLearntAfterTwiceTheWarmUp) {
  HealthWatch watch(80);
  EXPECT_TRUE(watch.look(159, cosines(0.30, 0.40)).empty());
  const auto words = watch.look(160, cosines(0.30, 0.40));
  ASSERT_EQ(words.size(), 1u);
  for (const std::string part : {"0.300", "0.400", "no better than predicting their mean"})
    EXPECT_NE(words[0].find(part), std::string::npos) << words[0];
  EXPECT_TRUE(watch.look(161, cosines(0.30, 0.40)).empty());
}

TEST(HealthWatch, IsSilentWhileTheStudentBeatsTheMean) {
  HealthWatch watch(0);
  for (int64_t step = 1; step < 100; ++step) EXPECT_TRUE(watch.look(step, cosines(0.5, 0.4)).empty());
  EXPECT_EQ(watch.look(100, cosines(0.404, 0.4)).size(), 1u) << "a margin of less than 0.005 is none";
}

TEST(HealthWatch, SaysThatTheRankFellToAFifthOfItsLargest) {
  HealthWatch watch(105);
  EXPECT_TRUE(watch.look(101, Figures{{"target/rank", 1.2}}).empty()) << "a fresh network may have any rank";
  EXPECT_TRUE(watch.look(105, Figures{{"target/rank", 50}}).empty());
  EXPECT_TRUE(watch.look(106, Figures{{"target/rank", 10.5}}).empty());
  const auto words = watch.look(107, Figures{{"target/rank", 9}});
  ASSERT_EQ(words.size(), 1u);
  EXPECT_NE(words[0].find("9.000 (largest so far 50.000)"), std::string::npos) << words[0];
  EXPECT_TRUE(watch.look(108, Figures{{"target/rank", 1}}).empty());
}

TEST(HealthWatch, WaitsAHundredStepsHoweverShortTheWarmUp) {
  HealthWatch watch(1);
  EXPECT_TRUE(
      watch.look(99, Figures{{"target/cosine", 0.1}, {"target/cosine_trivial", 0.4}, {"target/rank", 1}}).empty());
  EXPECT_EQ(watch.look(100, Figures{{"target/cosine", 0.1}, {"target/cosine_trivial", 0.4}, {"target/rank", 1}}).size(),
            2u);
}

TEST(HealthWatch, KeepsObjectivesApart) {
  HealthWatch watch(0);
  EXPECT_EQ(watch.look(101, Figures{{"a/rank", 1}, {"b/rank", 40}, {"a/rank_target", 1}}).size(), 1u);
  EXPECT_EQ(watch.look(102, Figures{{"a/rank", 1}, {"b/rank", 1}}).size(), 1u);
}

}  // namespace
}  // namespace lacuna
