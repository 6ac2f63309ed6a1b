// Momentum, weight decay and temperatures against the tables of the official scripts.

#include "train/ramp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "train/optimizer.h"
#include "train/schedule_tables.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT
using Unit = Duration::Unit;

constexpr double kLimit = 1e-15;  // all values are at most 1

Ramp cosine(double start, double end) { return {.start = start, .end = end, .shape = RampShape::kCosine}; }

// iBOT: np.linspace over the warm-up's epochs, then constant.
Ramp temperature(double start, double end, double warmup_epochs) {
  return {.start = start,
          .end = end,
          .shape = RampShape::kLinear,
          .over = {warmup_epochs, Unit::kEpochs},
          .ends = RampEnds::kBoth,
          .per_epoch = true};
}

void expect_value(Ledger& ledger, const std::string& what, double found, double expected) {
  ledger.expect("value, absolute", text(what, ": found ", found, ", expected ", expected), std::abs(found - expected),
                kLimit);
}

class UnifiedRamps : public ::testing::Test {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
    all_ = golden_json("unified/tables/schedules.json");
  }
  // A cosine over the whole run, one value a step.
  void expect_cosine(const std::string& name, const char* start) {
    const Json& table = all_.at(name);
    const int64_t epoch = table.at("steps_per_epoch"), total = epoch * table.at("epochs").get<int64_t>();
    const auto values = stored_values(table.at("values"));
    ASSERT_GT(values.size(), 4u);
    for (const auto& [step, value] : values)
      expect_value(ledger_, text(name, " ", step), cosine(table.at(start), table.at("final")).value(step, total, epoch),
                   value);
    if (!table.contains("sum")) return;
    double sum = 0;
    for (int64_t step = 0; step < total; ++step)
      sum += cosine(table.at(start), table.at("final")).value(step, total, epoch);
    ledger_.expect_relative("sums, relative", name, sum, table.at("sum"), 1e-10);
  }

  Json all_;
  Ledger ledger_;
};

TEST_F(UnifiedRamps, CosinesOfWeightDecayAndMomentumAgree) {
  expect_cosine("weight_decay_cosine_tiny", "base");
  expect_cosine("ibot_momentum_100ep", "start");
  expect_cosine("momentum_tiny", "start");
}

TEST_F(UnifiedRamps, TheOptimizersOwnWeightDecayIsTheSameCosine) {
  const Json& table = all_.at("weight_decay_cosine_tiny");
  const AdamWConfig config{.weight_decay = table.at("base"), .weight_decay_end = table.at("final").get<double>()};
  for (const auto& [step, value] : stored_values(table.at("values")))
    expect_value(ledger_, text(step), config.weight_decay_at(step, 20), value);
  EXPECT_EQ(AdamWConfig{.weight_decay = 0.05}.weight_decay_at(7, 20), 0.05);
}

TEST_F(UnifiedRamps, Data2VecsDecayIsALineThenConstant) {
  const Json& table = all_.at("data2vec_decay");
  EXPECT_EQ(keys_of(table), (TableNames{"rule", "base_recipe", "start_at_8"}));
  Ramp ramp{.start = 0.999, .end = 0.9998, .shape = RampShape::kLinear, .over = {8, Unit::kSteps}};
  const auto values = stored_values(table.at("start_at_8"));
  ASSERT_EQ(values.size(), 10u);
  for (const auto& [step, value] : values) expect_value(ledger_, text(step), ramp.value(step, 100, 10), value);
  ramp.over = {0, Unit::kSteps};
  for (const auto& [step, value] : stored_values(table.at("base_recipe")))
    expect_value(ledger_, "base", ramp.value(step, 100, 10), value);
}

TEST_F(UnifiedRamps, TheTeachersTemperatureRisesByEpoch) {
  const Json& table = all_.at("ibot_teacher_temperature");
  const Ramp ramp = temperature(table.at("start"), table.at("end"), table.at("warmup_epochs"));
  const auto values = stored_values(table.at("values"));
  ASSERT_EQ(values.size(), 6u);
  for (const auto& [epoch, value] : values) {
    expect_value(ledger_, text("epoch ", epoch), ramp.value(epoch * 7, 700, 7), value);
    EXPECT_EQ(ramp.value(epoch * 7 + 6, 700, 7), ramp.value(epoch * 7, 700, 7)) << "one value an epoch";
  }
}

TEST_F(UnifiedRamps, AllTablesAreKnown) {
  EXPECT_EQ(keys_of(all_), union_of({kBeitRates, kEpochFractionRates, kLaggingRates, kUnifiedRamps}));
}

class MaskClipRamps : public ::testing::Test {
 protected:
  static constexpr int64_t kEpoch = 40, kTotal = 1000;  // stated in the JSON

  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/schedules.safetensors"); }

  static Ramp ramp(const std::string& name) {
    if (name == "ibot.momentum_0.996_to_1") return cosine(0.996, 1);
    if (name == "momentum_0.996_to_0.9999") return cosine(0.996, 0.9999);
    if (name == "ibot.weight_decay_0.04_to_0.4") return cosine(0.04, 0.4);
    if (name == "bootmae.momentum_per_epoch")
      return {.start = 0.999,
              .end = 0.9999,
              .shape = RampShape::kLinear,
              .over = {100, Unit::kEpochs},
              .per_epoch = true,
              .later_end = 0.99999,
              .later_over = {300, Unit::kEpochs}};
    const std::string prefix = "teacher_temp.warmup";
    return temperature(0.04, 0.07, std::stod(name.substr(prefix.size())));
  }
};

TEST_F(MaskClipRamps, EveryStepOrEpochOfEveryTableAgrees) {
  const TensorFile file(golden_path("maskclip/schedules.safetensors"));
  const Json parameters = golden_json("maskclip/schedules.json").at("parameters");
  ASSERT_EQ(parameters.at("momentum and weight decay").at("steps_per_epoch"), kEpoch);
  ASSERT_EQ(parameters.at("momentum and weight decay").at("epochs").get<int64_t>() * kEpoch, kTotal);
  ASSERT_EQ(parameters.at("teacher_temp").at("first"), 0.04);
  ASSERT_EQ(parameters.at("teacher_temp").at("last"), 0.07);
  Ledger ledger;
  for (const std::string& name : kMaskClipRamps) {
    const at::Tensor table = to_tensor(file.at(name));
    const Ramp own = ramp(name);
    const int64_t stride = own.per_epoch ? kEpoch : 1;
    ASSERT_GE(table.numel(), 25) << name;
    if (!own.per_epoch) {
      ASSERT_EQ(table.numel(), kTotal) << name;
    }
    for (int64_t i = 0; i < table.numel(); ++i)
      expect_value(ledger, text(name, " ", i), own.value(i * stride, table.numel() * stride, kEpoch),
                   table[i].item<double>());
  }
  EXPECT_EQ(TableNames(file.names().begin(), file.names().end()), union_of({kMaskClipRates, kMaskClipRamps}));
}

TEST_F(MaskClipRamps, TheRealScaleAgrees) {
  const Json table = golden_json("maskclip/schedules.json").at("yfcc_25_epochs_3586_steps");
  const std::map<std::string, Ramp> ramps = {{"momentum_0.996_to_1", cosine(0.996, 1)},
                                             {"momentum_0.996_to_0.9999", cosine(0.996, 0.9999)}};
  EXPECT_EQ(keys_of(table),
            (TableNames{"steps_total", "step", "lr_slip", "momentum_0.996_to_1", "momentum_0.996_to_0.9999"}));
  Ledger ledger;
  for (const auto& [name, own] : ramps) {
    ASSERT_EQ(table.at(name).size(), table.at("step").size());
    for (size_t i = 0; i < table.at("step").size(); ++i)
      expect_value(ledger, text(name, " ", i), own.value(table.at("step")[i], table.at("steps_total"), 3586),
                   table.at(name)[i]);
  }
}

TEST_F(MaskClipRamps, TheTenStepRunsAgree) {
  const Json json = golden_json("maskclip/micro_run.json");
  const Json& stored = json.at("schedules");
  EXPECT_EQ(keys_of(stored), (TableNames{"lr", "momentum", "teacher_temp_per_epoch"}));
  Ledger ledger;
  const auto compare = [&](const std::string& name, const Json& h, const auto& momentum, const auto& decay,
                           const auto& temp) {
    const int64_t epoch = h.at("per_epoch"), total = epoch * h.at("epochs").get<int64_t>();
    ASSERT_EQ(total, 10);
    const AdamWConfig adamw{.weight_decay = h.at("wd"), .weight_decay_end = h.at("wd_end").get<double>()};
    for (int64_t k = 0; k < total; ++k) {
      const std::string what = text(name, " step ", k);
      expect_value(ledger, what + " momentum", cosine(h.at("momentum"), h.at("momentum_end")).value(k, total, epoch),
                   momentum(k));
      expect_value(ledger, what + " weight decay", adamw.weight_decay_at(k, total), decay(k));
      expect_value(ledger, what + " temperature",
                   temperature(h.at("temp"), h.at("temp_end"), h.at("temp_warmup_epochs")).value(k, total, epoch),
                   temp(k));
    }
  };
  const Json& usual = json.at("hyper_parameters");
  compare(
      "schedules", usual, [&](int64_t k) { return stored.at("momentum")[static_cast<size_t>(k)].get<double>(); },
      [&](int64_t) { return usual.at("wd").get<double>(); },
      [&](int64_t k) { return stored.at("teacher_temp_per_epoch")[static_cast<size_t>(k / 2)].get<double>(); });
  int64_t moving = 0;
  for (const auto& [name, run] : json.at("runs").items()) {
    const Json h = run.value("hyper_parameters", usual);
    const auto of = [&run = run](const char* key) {
      return [&run, key](int64_t k) { return run.at("steps")[static_cast<size_t>(k)].at(key).template get<double>(); };
    };
    compare(name, h, of("momentum"), of("wd"), of("teacher_temp"));
    moving += h.at("wd") != h.at("wd_end");
  }
  EXPECT_EQ(moving, 1) << "full_wd_cosine_freeze_clip";
}

// The scripts of CAE print a weight decay for each run; all but one are constant. Attentive probing builds the table
// but hands its SGD a weight decay of zero.
TEST(CaeWeightDecay, EveryTableAgrees) {
  LACUNA_NEEDS_SHARED("golden/cae/schedules.json");
  const Json tables = golden_json("cae/schedules.json").at("weight_decay");
  Ledger ledger;
  TableNames constant;
  for (const auto& [name, table] : tables.items()) {
    if (table.contains("index")) {
      EXPECT_EQ(name, "cosine_0.05_to_0.2");
      const AdamWConfig config{.weight_decay = 0.05, .weight_decay_end = 0.2};
      for (size_t i = 0; i < table.at("index").size(); ++i)
        expect_value(ledger, text(name, " ", i), config.weight_decay_at(table.at("index")[i], table.at("steps")),
                     table.at("value")[i]);
      double sum = 0, squares = 0;
      for (int64_t step = 0; step < table.at("steps").get<int64_t>(); ++step) {
        const double value = config.weight_decay_at(step, table.at("steps"));
        sum += value;
        squares += value * value;
      }
      ledger.expect_relative("sums, relative", name, sum, table.at("sum"), 1e-10);
      ledger.expect_relative("sums, relative", name, squares, table.at("sum_of_squares"), 1e-10);
    } else {
      constant.insert(name);
      const double used = name == "attentive_cae" ? 0.0 : 0.05;
      EXPECT_EQ(table.at("constant"), used) << name;
      EXPECT_EQ(table.at("distinct_values"), Json::array({0.05})) << name;
      EXPECT_EQ((AdamWConfig{.weight_decay = used}.weight_decay_at(1, 2)), used);
    }
  }
  EXPECT_EQ(constant, (TableNames{"cae_base_300e", "cae_base_800e", "cae_1600e", "caev2_300e", "finetune_cae_base",
                                  "finetune_cae_large", "finetune_caev2_tiny", "finetune_caev2_small",
                                  "finetune_caev2_base", "attentive_cae"}));
}

// ---- What no table shows ---------------------------------------------------------------------------------------

TEST(Ramp, AConstantNeedsNoLengthOfTheRun) {
  const Ramp ramp{.start = 0.999};
  EXPECT_EQ(ramp.value(0, 0, 1), 0.999);
  EXPECT_EQ(ramp.value(1000000, 0, 1), 0.999);
}

TEST(Ramp, LengthsAreReadInEveryUnit) {
  for (const Duration over : {Duration{50, Unit::kSteps}, Duration{5, Unit::kEpochs}, Duration{25, Unit::kPercent}}) {
    const Ramp ramp{.start = 0, .end = 1, .shape = RampShape::kLinear, .over = over};
    EXPECT_DOUBLE_EQ(ramp.value(10, 200, 10), 0.2);
    EXPECT_EQ(ramp.value(50, 200, 10), 1);
    EXPECT_EQ(ramp.value(199, 200, 10), 1);
  }
}

TEST(Ramp, TheSecondStretchGoesOnFromTheFirst) {
  const Ramp ramp{.start = 0,
                  .end = 1,
                  .shape = RampShape::kLinear,
                  .over = {10, Unit::kSteps},
                  .later_end = 3,
                  .later_over = {4, Unit::kSteps}};
  EXPECT_EQ(ramp.value(10, 100, 1), 1);
  EXPECT_EQ(ramp.value(12, 100, 1), 2);
  EXPECT_EQ(ramp.value(14, 100, 1), 3);
  EXPECT_EQ(ramp.value(99, 100, 1), 3);
}

TEST(Ramp, RefusesWhatDoesNotFitTogether) {
  const auto message = [](const Ramp& ramp) -> std::string {
    try {
      ramp.validate("momentum", 0, 1);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message({.start = 0.9}), "accepted");
  EXPECT_EQ(message(cosine(0.9, 1)), "accepted");
  EXPECT_NE(message({.start = 0.9, .end = 1}).find("momentum.shape"), std::string::npos);
  EXPECT_NE(message({.start = 0.9, .shape = RampShape::kLinear}).find("momentum.end"), std::string::npos);
  EXPECT_NE(message(cosine(0.9, 1.5)).find("found 1.5"), std::string::npos);
  Ramp samples = cosine(0.9, 1);
  samples.over = {1000, Unit::kSamples};
  EXPECT_NE(message(samples).find("found samples"), std::string::npos);
  Ramp later = cosine(0.9, 1);
  later.later_end = 1;
  EXPECT_NE(message(later).find("momentum.later_over"), std::string::npos);
}

TEST(Ramp, SurvivesItsOwnJson) {
  Ramp ramp = temperature(0.04, 0.07, 30);
  ramp.later_end = 0.1;
  ramp.later_over = {3, Unit::kEpochs};
  Ramp read;
  from_json(to_json(ramp), "test", read);
  for (const int64_t step : {0, 5, 290, 310, 5000}) EXPECT_EQ(read.value(step, 5000, 10), ramp.value(step, 5000, 10));
}

}  // namespace
}  // namespace lacuna
