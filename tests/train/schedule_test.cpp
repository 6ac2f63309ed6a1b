// The learning rate against the tables of the official scripts.

#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

Schedule stored_schedule(const Json& table) {
  return {.peak = table.at("peak"),
          .floor = table.at("final"),
          .warmup = table.at("warmup_steps"),
          .total = table.at("steps")};
}

class OfficialSchedule : public ::testing::TestWithParam<std::string> {};

TEST_P(OfficialSchedule, EveryStoredStepAndTheSumsAgree) {
  LACUNA_NEEDS_SHARED("golden/cae/schedules.json");
  const Json table = golden_json("cae/schedules.json").at("lr").at(GetParam());
  const Schedule schedule = stored_schedule(table);
  Ledger ledger;
  ASSERT_GT(table.at("index").size(), 30u);
  for (size_t i = 0; i < table.at("index").size(); ++i) {
    const double expected = table.at("value")[i];
    ledger.expect("rate, relative to the peak", text("step ", table.at("index")[i]),
                  std::abs(schedule.at(table.at("index")[i]) - expected) / schedule.peak, 1e-14);
  }
  double sum = 0, squares = 0;
  for (int64_t step = 0; step < schedule.total; ++step) {
    const double rate = schedule.at(step);
    sum += rate;
    squares += rate * rate;
  }
  ledger.expect_relative("sums, relative", "sum", sum, table.at("sum"), 1e-10);
  ledger.expect_relative("sums, relative", "sum of squares", squares, table.at("sum_of_squares"), 1e-10);
}

// The linear probes' tables follow a rule of their own (fractional epochs, no double peak) and are not this schedule.
INSTANTIATE_TEST_SUITE_P(Tables, OfficialSchedule,
                         ::testing::Values("cae_base_300e", "cae_base_800e", "cae_1600e", "caev2_300e",
                                           "finetune_cae_base", "finetune_cae_large", "finetune_caev2_tiny",
                                           "finetune_caev2_small", "finetune_caev2_base", "attentive_cae",
                                           "warmup_steps_120_overrides_5_epochs"),
                         [](const auto& each) { return each.param; });

TEST(Schedule, ReachesThePeakTwiceAndNeverPassesItsEnds) {
  const Schedule schedule{.peak = 1, .floor = 0.1, .warmup = 5, .total = 20};
  EXPECT_EQ(schedule.at(0), 0);
  EXPECT_EQ(schedule.at(4), 1);
  EXPECT_EQ(schedule.at(5), 1);
  EXPECT_LT(schedule.at(6), 1);
  EXPECT_GT(schedule.at(19), 0.1);
  EXPECT_NEAR(schedule.at(20), 0.1, 1e-15);
}

TEST(Schedule, AWarmUpOfOneStepIsZeroAndNoWarmUpStartsAtThePeak) {
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 1, .total = 10}.at(0)), 0);
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 1, .total = 10}.at(1)), 1);
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 0, .total = 10}.at(0)), 1);
}

}  // namespace
}  // namespace lacuna
