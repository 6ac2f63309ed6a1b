#include "train/config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

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

TEST(MakePlan, SettlesTheScheduleInSteps) {
  TrainConfig c = train({800, Unit::kEpochs}, 2048);
  c.warmup = {10, Unit::kEpochs};
  c.schedule = {.kind = ScheduleKind::kDrops,
                .warmup_start_lr = 2e-6,
                .warmup_ends = RampEnds::kFirst,
                .lag = true,
                .drops = {{700, Unit::kEpochs}, {95, Unit::kPercent}},
                .drop_factor = 0.2};
  const Schedule s = make_plan(c, {}, {}, 625).schedule;
  EXPECT_EQ(s.kind, ScheduleKind::kDrops);
  EXPECT_EQ(s.warmup_start, 2e-6);
  EXPECT_EQ(s.warmup_ends, RampEnds::kFirst);
  EXPECT_TRUE(s.lag);
  EXPECT_EQ(s.drops, (std::vector<int64_t>{437500, 475000}));
  EXPECT_EQ(s.drop_factor, 0.2);
  c.schedule = {.kind = ScheduleKind::kConstantCooldown, .cooldown = {25, Unit::kPercent}};
  EXPECT_EQ(make_plan(c, {}, {}, 625).schedule.cooldown, 125000);
}

TEST(MakePlan, RefusesAScheduleThatContradictsItself) {
  const auto message = [](const ScheduleConfig& schedule) {
    TrainConfig c = train({100, Unit::kSteps}, 256);
    c.warmup = {20, Unit::kSteps};
    c.schedule = schedule;
    return fault([&] { make_plan(c, {}, {}, 10); });
  };
  const auto drops = [](std::vector<Duration> at) {
    return ScheduleConfig{.kind = ScheduleKind::kDrops, .drops = std::move(at)};
  };
  EXPECT_EQ(message(drops({{50, Unit::kSteps}})), "no error");
  EXPECT_NE(message(drops({})).find("train.drops: a schedule of drops needs at least one"), std::string::npos);
  EXPECT_NE(message({.drops = {{50, Unit::kSteps}}}).find("train.drops: only read by"), std::string::npos);
  EXPECT_NE(message(drops({{50, Unit::kSteps}, {50, Unit::kSteps}})).find("found step 50"), std::string::npos);
  EXPECT_NE(message(drops({{100, Unit::kSteps}})).find("found step 100"), std::string::npos);
  EXPECT_NE(message(drops({{10, Unit::kSteps}})).find("found step 10"), std::string::npos);
  EXPECT_NE(message({.warmup_start_lr = 1}).find("train.warmup_start_lr: 1 is above the peak"), std::string::npos);
  EXPECT_NE(message({.cooldown = {5, Unit::kSteps}}).find("train.cooldown: only read by"), std::string::npos);
  EXPECT_NE(message({.kind = ScheduleKind::kConstantCooldown}).find("needs its length"), std::string::npos);
  EXPECT_NE(message({.kind = ScheduleKind::kConstantCooldown, .cooldown = {90, Unit::kSteps}}).find("do not fit"),
            std::string::npos);
}

TEST(TrainConfig, ReadsTheScheduleAndTheOptimizerFromARecipe) {
  TrainConfig c;
  apply(Settings::from_text(R"(
schedule = "drops"
drops = ["700 epochs", "90 %", 790]
warmup_ends = "first"
warmup_start_lr = 2e-6
schedule_lag = true
clip_scope = "tensor"
no_decay = ["pos_embed", "cls_token"]
weight_decay = 0.04
weight_decay_end = 0.4
)",
                            "test"),
        c);
  EXPECT_EQ(c.schedule.kind, ScheduleKind::kDrops);
  EXPECT_EQ(c.schedule.drops,
            (std::vector<Duration>{{700, Unit::kEpochs}, {90, Unit::kPercent}, {790, Unit::kEpochs}}));
  EXPECT_EQ(c.schedule.warmup_ends, RampEnds::kFirst);
  EXPECT_TRUE(c.schedule.lag);
  EXPECT_EQ(c.adamw.clip_scope, ClipScope::kTensor);
  EXPECT_EQ(c.adamw.no_decay, (std::vector<std::string>{"pos_embed", "cls_token"}));
  EXPECT_EQ(c.adamw.weight_decay_end, 0.4);
  TrainConfig again;
  apply(Settings::from_text(to_toml(c), "printed"), again);
  EXPECT_EQ(to_json(again), to_json(c));
}

}  // namespace
}  // namespace lacuna
