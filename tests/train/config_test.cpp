#include "train/config.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"

namespace lacuna {
namespace {

using Unit = Duration::Unit;

std::string fault(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TrainConfig train(Duration duration, int64_t batch) {
  TrainConfig c;
  c.duration = duration;
  c.batch_size = batch;
  return c;
}

TEST(TrainConfig, TheRateScalesWithTheBatchUnlessItIsGiven) {
  TrainConfig c = train({1, Unit::kEpochs}, 2048);
  c.base_lr = 1.5e-3 * 256 / 2048;  // published: 1.5e-3 for 2048
  EXPECT_DOUBLE_EQ(c.peak_lr(), 1.5e-3);
  EXPECT_DOUBLE_EQ(c.floor_lr(), 1e-5);
  c.batch_size = 256;
  EXPECT_DOUBLE_EQ(c.peak_lr(), 1.5e-3 / 8);
  c.accumulate = 4;
  EXPECT_DOUBLE_EQ(c.peak_lr(), 1.5e-3 / 8) << "a step is a step, in however many parts";
  c.lr = 3e-4;
  c.min_lr = 0;
  EXPECT_DOUBLE_EQ(c.peak_lr(), 3e-4);
  EXPECT_DOUBLE_EQ(c.floor_lr(), 0);
}

TEST(TrainConfig, AnOpenBatchSizeFitsTheSource) {
  for (const auto& [source, batch] : std::vector<std::pair<int64_t, int64_t>>{
           {1000000, 256}, {1024, 256}, {1023, 128}, {100, 16}, {8, 2}, {4, 1}, {1, 1}}) {
    TrainConfig c;
    c.settle_batch_size(source);
    EXPECT_EQ(c.batch(), batch) << source;
  }
  TrainConfig given = train({1, Unit::kEpochs}, 77);
  given.settle_batch_size(8);
  EXPECT_EQ(given.batch(), 77);
}

TEST(MakePlan, TurnsEveryLengthIntoSteps) {
  const auto total = [](Duration d) { return make_plan(train(d, 32), {}, {}, 50).total; };
  EXPECT_EQ(total({300, Unit::kEpochs}), 15000);
  EXPECT_EQ(total({1.5, Unit::kEpochs}), 75);
  EXPECT_EQ(total({777, Unit::kSteps}), 777);
  EXPECT_EQ(total({6400, Unit::kSamples}), 200);
  EXPECT_EQ(total({6401, Unit::kSamples}), 201);
}

TEST(MakePlan, SharesAreOfTheWholeRun) {
  TrainConfig c = train({1000, Unit::kSteps}, 32);
  c.warmup = {5, Unit::kPercent};
  const CheckpointConfig checkpoint{.every = {10, Unit::kPercent}, .keep_last = 2, .keep_every = {250, Unit::kSteps}};
  LogConfig log;
  log.pictures = {0, Unit::kSteps};
  const Plan plan = make_plan(c, checkpoint, log, 50);
  EXPECT_EQ(plan.steps_per_epoch, 50);
  EXPECT_EQ(plan.schedule.warmup, 50);
  EXPECT_EQ(plan.schedule.total, 1000);
  EXPECT_EQ(plan.checkpoint_every, 100);
  EXPECT_EQ(plan.keep_every, 250);
  EXPECT_EQ(plan.pictures_every, 0);
  EXPECT_EQ(plan.log_every, 5);
  EXPECT_EQ(plan.health_every, 25);
}

TEST(MakePlan, ShortRunsStillSaveAndRecord) {
  TrainConfig c = train({3, Unit::kSteps}, 1);
  c.warmup = {0, Unit::kSteps};
  const Plan plan = make_plan(c, {}, {}, 1);
  EXPECT_EQ(plan.checkpoint_every, 1);
  EXPECT_EQ(plan.log_every, 1);
  EXPECT_EQ(plan.health_every, 1);
  EXPECT_EQ(plan.schedule.warmup, 0);
}

TEST(MakePlan, RefusesWhatCannotBe) {
  const auto message = [](const TrainConfig& c) { return fault([&] { make_plan(c, {}, {}, 10); }); };
  EXPECT_NE(message(train({10, Unit::kPercent}, 4)).find("expected a length"), std::string::npos);
  EXPECT_NE(message(train({0, Unit::kSteps}, 4)).find("expected a length"), std::string::npos);
  TrainConfig warm = train({10, Unit::kSteps}, 4);
  warm.warmup = {10, Unit::kSteps};
  EXPECT_NE(message(warm).find("10 steps of warm-up in a run of 10"), std::string::npos);
  TrainConfig parts = train({10, Unit::kSteps}, 4);
  parts.accumulate = 3;
  EXPECT_NE(message(parts).find("cannot be cut into 3 equal parts"), std::string::npos);
  TrainConfig floor = train({10, Unit::kSteps}, 4);
  floor.min_lr = 1;
  EXPECT_NE(message(floor).find("above the peak rate"), std::string::npos);
}

}  // namespace
}  // namespace lacuna
