// The learning rate against the tables of the official scripts.

#include "train/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <numbers>
#include <string>

#include "train/schedule_tables.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

void expect_rate(Ledger& ledger, const std::string& what, const Schedule& s, int64_t step, double expected) {
  const double found = s.at(step);
  if (expected == 0) {
    EXPECT_EQ(found, 0) << what << " step " << step;
  }
  if (expected != 0) ledger.expect_relative("rate, relative", text(what, " step ", step), found, expected, 1e-12);
  ledger.expect("rate, relative to the peak", text(what, " step ", step), std::abs(found - expected) / s.peak, 1e-14);
}

void expect_sums(Ledger& ledger, const Schedule& s, const Json& table) {
  double sum = 0, squares = 0;
  for (int64_t step = 0; step < s.total; ++step) {
    const double rate = s.at(step);
    sum += rate;
    squares += rate * rate;
  }
  ledger.expect_relative("sums, relative", "sum", sum, table.at("sum"), 1e-10);
  if (table.contains("sum_of_squares"))
    ledger.expect_relative("sums, relative", "sum of squares", squares, table.at("sum_of_squares"), 1e-10);
}

struct Table : ::testing::TestWithParam<std::string> {};

std::string plain(const ::testing::TestParamInfo<std::string>& each) {
  std::string out = each.param;
  std::replace_if(
      out.begin(), out.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return out;
}

struct Cae : Table {};

TEST_P(Cae, EveryStoredStepAndTheSumsAgree) {
  LACUNA_NEEDS_SHARED("golden/cae/schedules.json");
  const Json table = golden_json("cae/schedules.json").at("lr").at(GetParam());
  const bool fractions = table.contains("rule");  // the linear probes
  if (fractions) {
    ASSERT_EQ(table.at("rule"), "fractional epoch i/steps_per_epoch + epoch; no double peak");
  }
  const Schedule schedule{.peak = table.at("peak"),
                          .floor = table.at("final"),
                          .warmup = table.at("warmup_steps"),
                          .total = table.at("steps"),
                          .warmup_ends = fractions ? RampEnds::kFirst : RampEnds::kBoth};
  Ledger ledger;
  ASSERT_GT(table.at("index").size(), 30u);
  for (size_t i = 0; i < table.at("index").size(); ++i)
    expect_rate(ledger, GetParam(), schedule, table.at("index")[i], table.at("value")[i]);
  expect_sums(ledger, schedule, table);
}

INSTANTIATE_TEST_SUITE_P(Tables, Cae, ::testing::ValuesIn(kCaeRates), plain);

struct Beit : Table {};

TEST_P(Beit, EveryStoredStepAndTheSumAgree) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
  const Json table = golden_json("unified/tables/schedules.json").at(GetParam());
  const int64_t epoch = table.at("steps_per_epoch"), total = epoch * table.at("epochs").get<int64_t>();
  const int64_t warmup = table.value("warmup_steps", table.value("warmup_epochs", int64_t{0}) * epoch);
  const Schedule schedule{.peak = table.at("base"), .floor = table.at("final"), .warmup = warmup, .total = total};
  Ledger ledger;
  const auto values = stored_values(table.at("values"));
  ASSERT_GT(values.size(), 5u);
  for (const auto& [step, value] : values) expect_rate(ledger, GetParam(), schedule, step, value);
  expect_sums(ledger, schedule, table);
}

INSTANTIATE_TEST_SUITE_P(Tables, Beit, ::testing::ValuesIn(kBeitRates), plain);

struct EpochFraction : Table {};

TEST_P(EpochFraction, EveryStoredValueAgrees) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
  const Json table = golden_json("unified/tables/schedules.json").at(GetParam());
  // Stored by fractions of an epoch of at least a hundredth, or by step.
  const int64_t epoch = table.value("steps_per_epoch", int64_t{100});
  const bool mae = table.contains("peak");
  const int64_t epochs = mae ? table.at("epochs").get<int64_t>() : 300;
  const Schedule schedule{.peak = mae ? table.at("peak") : table.at("base"),
                          .floor = table.at("final"),
                          .warmup = table.at("warmup_epochs").get<int64_t>() * epoch,
                          .total = epochs * epoch,
                          .warmup_start = table.value("warmup_start", 0.0),
                          .warmup_ends = RampEnds::kFirst};
  Ledger ledger;
  const auto values = stored_values(table.at("values"), static_cast<double>(epoch));
  ASSERT_GT(values.size(), 5u);
  for (const auto& [step, value] : values) expect_rate(ledger, GetParam(), schedule, step, value);
}

INSTANTIATE_TEST_SUITE_P(Tables, EpochFraction, ::testing::ValuesIn(kEpochFractionRates), plain);

struct Lagging : Table {};

TEST_P(Lagging, UpdateKTakesTheStoredValueOfKMinusOne) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
  const Json table = golden_json("unified/tables/schedules.json").at(GetParam());
  const bool drops = table.contains("milestones");
  Schedule schedule{.peak = table.at("base"),
                    .warmup = table.at("warmup_steps"),
                    .total = drops ? 500000 : table.at("steps").get<int64_t>(),
                    .kind = drops ? ScheduleKind::kDrops : ScheduleKind::kCosineFromStart,
                    .warmup_start = table.at("warmup_start"),
                    .warmup_ends = RampEnds::kFirst,
                    .lag = true};
  if (drops) {
    schedule.drops = table.at("milestones").get<std::vector<int64_t>>();
    schedule.drop_factor = table.at("gamma");
  } else {
    schedule.floor = table.at("final");
  }
  Ledger ledger;
  const auto values = stored_values(table.at("values"));
  ASSERT_GT(values.size(), 5u);
  for (const auto& [step, value] : values) expect_rate(ledger, GetParam(), schedule, step + 1, value);
  EXPECT_EQ(schedule.at(0), table.at("warmup_start").get<double>()) << "the first update, too, uses f(0)";
}

INSTANTIATE_TEST_SUITE_P(Tables, Lagging, ::testing::ValuesIn(kLaggingRates), plain);

// Of golden/maskclip: SLIP's cosine with a start value, and open_clip's three kinds.
Schedule mask_clip_schedule(const std::string& name, const Json& parameters) {
  if (name == "slip.lr") {
    const Json& p = parameters.at(name);
    const int64_t epoch = p.at("steps_per_epoch");
    return {.peak = p.at("lr"),
            .floor = p.at("lr_end"),
            .warmup = p.at("warmup_epochs").get<int64_t>() * epoch,
            .total = p.at("epochs").get<int64_t>() * epoch,
            .warmup_start = p.at("lr_start")};
  }
  const Json& p = parameters.at("open_clip");
  EXPECT_EQ(p.at("cooldown_power"), 1.0) << "a line";
  Schedule out{.peak = p.at("lr"),
               .warmup = p.at("warmup_steps"),
               .total = p.at("steps"),
               .kind = name == "open_clip.const"            ? ScheduleKind::kConstant
                       : name == "open_clip.const_cooldown" ? ScheduleKind::kConstantCooldown
                                                            : ScheduleKind::kCosine,
               .warmup_ends = RampEnds::kLast};
  if (out.kind == ScheduleKind::kConstantCooldown) {
    out.cooldown = p.at("cooldown_steps");
    out.floor = p.at("cooldown_end_lr");
  }
  return out;
}

struct MaskClip : Table {};

TEST_P(MaskClip, EveryStepAgrees) {
  LACUNA_NEEDS_SHARED("golden/maskclip/schedules.safetensors");
  const Schedule schedule = mask_clip_schedule(GetParam(), golden_json("maskclip/schedules.json").at("parameters"));
  const at::Tensor table = to_tensor(TensorFile(golden_path("maskclip/schedules.safetensors")).at(GetParam()));
  ASSERT_EQ(table.numel(), schedule.total);
  Ledger ledger;
  for (int64_t step = 0; step < schedule.total; ++step) {
    const double expected = table[step].item<double>();
    expect_rate(ledger, GetParam(), schedule, step, expected);
    ledger.expect("rate, absolute", text("step ", step), std::abs(schedule.at(step) - expected), 1e-15);
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, MaskClip, ::testing::ValuesIn(kMaskClipRates), plain);

TEST(MaskClip, TheRealScaleAgrees) {
  LACUNA_NEEDS_SHARED("golden/maskclip/schedules.json");
  const Json json = golden_json("maskclip/schedules.json");
  const Json& table = json.at("yfcc_25_epochs_3586_steps");
  Json parameters = json.at("parameters");
  parameters.at("slip.lr").at("steps_per_epoch") = 3586;
  const Schedule schedule = mask_clip_schedule("slip.lr", parameters);
  ASSERT_EQ(schedule.total, table.at("steps_total"));
  ASSERT_EQ(table.at("step").size(), table.at("lr_slip").size());
  Ledger ledger;
  for (size_t i = 0; i < table.at("step").size(); ++i) {
    expect_rate(ledger, "slip", schedule, table.at("step")[i], table.at("lr_slip")[i]);
    ledger.expect("rate, absolute", text(i),
                  std::abs(schedule.at(table.at("step")[i]) - table.at("lr_slip")[i].get<double>()), 1e-15);
  }
}

TEST(MaskClip, TheRatesOfTheTenStepRunsAgree) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_run.json");
  const Json json = golden_json("maskclip/micro_run.json");
  const auto schedule = [](const Json& h) {
    const int64_t epoch = h.at("per_epoch");
    return Schedule{.peak = h.at("lr"),
                    .floor = h.at("lr_end"),
                    .warmup = h.at("warmup_epochs").get<int64_t>() * epoch,
                    .total = h.at("epochs").get<int64_t>() * epoch,
                    .warmup_start = h.at("lr_start")};
  };
  Ledger ledger;
  const auto compare = [&](const std::string& what, const Schedule& s, int64_t step, double expected) {
    ledger.expect("rate, absolute", text(what, " step ", step), std::abs(s.at(step) - expected), 1e-15);
  };
  ASSERT_EQ(json.at("schedules").at("lr").size(), 10u);
  for (size_t i = 0; i < 10; ++i)
    compare("schedules", schedule(json.at("hyper_parameters")), static_cast<int64_t>(i),
            json.at("schedules").at("lr")[i]);
  ASSERT_GT(json.at("runs").size(), 10u);
  for (const auto& [name, run] : json.at("runs").items()) {
    const Schedule own = schedule(run.value("hyper_parameters", json.at("hyper_parameters")));
    ASSERT_EQ(run.at("steps").size(), 10u) << name;
    for (size_t i = 0; i < 10; ++i) compare(name, own, static_cast<int64_t>(i), run.at("steps")[i].at("lr"));
  }
}

TEST(StoredTables, AreAllKnown) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
  EXPECT_EQ(keys_of(golden_json("cae/schedules.json").at("lr")), kCaeRates);
  EXPECT_EQ(keys_of(golden_json("unified/tables/schedules.json")),
            union_of({kBeitRates, kEpochFractionRates, kLaggingRates, kUnifiedRamps}));
  const TensorFile file(golden_path("maskclip/schedules.safetensors"));
  EXPECT_EQ(TableNames(file.names().begin(), file.names().end()), union_of({kMaskClipRates, kMaskClipRamps}));
}

// ---- What no table shows ---------------------------------------------------------------------------------------

TEST(Schedule, ReachesThePeakTwiceAndNeverPassesItsEnds) {
  const Schedule schedule{.peak = 1, .floor = 0.1, .warmup = 5, .total = 20};
  EXPECT_EQ(schedule.at(0), 0);
  EXPECT_EQ(schedule.at(4), 1);
  EXPECT_EQ(schedule.at(5), 1);
  EXPECT_LT(schedule.at(6), 1);
  EXPECT_GT(schedule.at(19), 0.1);
  EXPECT_NEAR(schedule.at(20), 0.1, 1e-15);
}

TEST(Schedule, AWarmUpOfOneStepIsItsStartAndNoWarmUpStartsAtThePeak) {
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 1, .total = 10}.at(0)), 0);
  EXPECT_EQ((Schedule{.peak = 1, .warmup = 1, .total = 10, .warmup_start = 0.25}.at(0)), 0.25);
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 1, .total = 10}.at(1)), 1);
  EXPECT_EQ((Schedule{.peak = 1, .floor = 0, .warmup = 0, .total = 10}.at(0)), 1);
}

TEST(Schedule, TheEndsOfTheWarmUpAreTakenAsNamed) {
  const auto warmup = [](RampEnds ends) {
    const Schedule s{.peak = 1, .warmup = 4, .total = 8, .kind = ScheduleKind::kConstant, .warmup_ends = ends};
    return std::vector<double>{s.at(0), s.at(3), s.at(4)};
  };
  EXPECT_EQ(warmup(RampEnds::kBoth), (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(warmup(RampEnds::kFirst), (std::vector<double>{0, 0.75, 1}));
  EXPECT_EQ(warmup(RampEnds::kLast), (std::vector<double>{0.25, 1, 1}));
}

TEST(Schedule, TheRateJumpsDownAfterTheWarmUpOfACosineFromTheStart) {
  const Schedule s{.peak = 1, .warmup = 10, .total = 40, .kind = ScheduleKind::kCosineFromStart};
  EXPECT_EQ(s.at(9), 1);
  EXPECT_NEAR(s.at(10), 0.5 * (1 + std::cos(std::numbers::pi / 4)), 1e-15);
  EXPECT_NEAR(s.at(40), 0, 1e-15);
}

TEST(Schedule, EveryDropMultipliesOnce) {
  const Schedule s{.peak = 8, .total = 9, .kind = ScheduleKind::kDrops, .drops = {3, 6}, .drop_factor = 0.5};
  std::vector<double> rates;
  for (int64_t step = 0; step < 9; ++step) rates.push_back(s.at(step));
  EXPECT_EQ(rates, (std::vector<double>{8, 8, 8, 4, 4, 4, 2, 2, 2}));
}

}  // namespace
}  // namespace lacuna
