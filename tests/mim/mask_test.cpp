// Plans and maskers: what every plan must be, what it depends on, and which settings are refused.

#include "mim/mask.h"

#include <gtest/gtest.h>

#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "mim/tokens.h"
#include "nn/vit.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kGrid = 14, kPatches = kGrid * kGrid;

using Mask = std::vector<uint8_t>;

TEST(MaskConfig, ARatioGivesTheOfficialCount) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.json");
  const Json stored = golden_json("cae/masks.json").at("random_ratio_to_count_196");
  ASSERT_GT(stored.size(), 10u);
  for (const auto& [ratio, count] : stored.items()) {
    MaskConfig config;
    config.ratio = std::stod(ratio);
    EXPECT_EQ(config.hidden(kPatches), count.get<int64_t>()) << ratio;
    config.count = 5;
    EXPECT_EQ(config.hidden(kPatches), 5);
    config.kind = MaskKind::kNone;
    EXPECT_EQ(config.hidden(kPatches), 0);
  }
}

TEST(MaskConfig, TheRatiosOfTheReleasedSizesGiveTheirCounts) {
  for (const int64_t count : {30, 49, 98}) {
    MaskConfig config;
    config.ratio = static_cast<double>(count) / static_cast<double>(kPatches);
    EXPECT_EQ(config.hidden(kPatches), count);
  }
}

TEST(Masker, APlanSplitsEverySampleCompletelyAndInOrder) {
  for (const MaskKind kind : {MaskKind::kBlock, MaskKind::kRandom, MaskKind::kNone}) {
    MaskConfig config;
    config.kind = kind;
    const std::vector<int64_t> samples = {3, 1, 4, 1};
    const MaskPlan plan = Masker(config, kGrid).draw(1, 2, samples, at::kCPU);
    const int64_t hidden = config.hidden(kPatches);
    EXPECT_EQ(plan.masked_count(), hidden);
    EXPECT_EQ(plan.visible_count(), kPatches - hidden);
    const at::Tensor all = std::get<0>(at::cat({plan.visible, plan.masked}).sort());
    EXPECT_TRUE(all.equal(at::arange(4 * kPatches)));
    for (const at::Tensor& rows : {plan.visible, plan.masked}) EXPECT_TRUE(rows.equal(std::get<0>(rows.sort())));
    const at::Tensor by_sample = plan.visible.view({4, -1}) - at::arange(4).unsqueeze(1) * kPatches;
    EXPECT_TRUE(by_sample[1].equal(by_sample[3])) << "the same sample must get the same mask";
    if (kind != MaskKind::kNone) {
      EXPECT_FALSE(by_sample[0].equal(by_sample[1]));
    }
  }
}

TEST(Masker, AMaskDependsOnSeedEpochAndSampleOnly) {
  const Masker masker(MaskConfig{}, kGrid);
  const auto rows = [&](uint64_t seed, uint64_t epoch, std::vector<int64_t> samples) {
    return masker.draw(seed, epoch, samples, at::kCPU)
        .masked.view({static_cast<int64_t>(samples.size()), -1})
        .remainder(kPatches);
  };
  const at::Tensor base = rows(1, 2, {5})[0];
  EXPECT_TRUE(rows(1, 2, {9, 5, 6})[1].equal(base));
  EXPECT_FALSE(rows(2, 2, {5})[0].equal(base));
  EXPECT_FALSE(rows(1, 3, {5})[0].equal(base));
}

TEST(MaskPlan, PickThenRestoreIsTheIdentity) {
  const std::vector<int64_t> samples = {0, 1, 2};
  const MaskPlan plan = Masker(MaskConfig{}, kGrid).draw(1, 0, samples, at::kCPU);
  const at::Tensor x = unit_tensor("x", {3, kPatches, 5});
  EXPECT_TRUE(plan.restore(pick_rows(x, plan.visible), pick_rows(x, plan.masked)).equal(x));
}

TEST(MaskPlan, APlanThatHidesNothingPicksNothing) {
  MaskConfig config;
  config.kind = MaskKind::kNone;
  const std::vector<int64_t> samples = {0, 1};
  const MaskPlan plan = Masker(config, 4).draw(1, 0, samples, at::kCPU);
  const at::Tensor full = unit_tensor("x", {2, 17, 5});
  const Tokens tokens = split_tokens(full, plan);
  EXPECT_EQ(tokens.masked.sizes(), (at::IntArrayRef{2, 0, 5}));
  EXPECT_TRUE(tokens.visible.equal(full.slice(1, 1)));
  EXPECT_TRUE(tokens.cls.equal(full.slice(1, 0, 1)));
  EXPECT_TRUE(plan.restore(tokens.visible, tokens.masked).equal(tokens.visible));
}

TEST(MaskPlan, PicksWhatALoopOverPatchesWouldPick) {
  const std::vector<Mask> masks = {{0, 1, 0, 1}, {1, 1, 0, 0}};
  const MaskPlan plan = plan_from_masks(masks, at::kCPU);
  const at::Tensor x = at::arange(16).view({2, 4, 2});
  EXPECT_TRUE(
      pick_rows(x, plan.visible).equal(at::stack({at::stack({x[0][0], x[0][2]}), at::stack({x[1][2], x[1][3]})})));
  EXPECT_TRUE(
      pick_rows(x, plan.masked).equal(at::stack({at::stack({x[0][1], x[0][3]}), at::stack({x[1][0], x[1][1]})})));
}

TEST(MaskPlan, AnUnevenPlanPicksAllSamplesRowsInOne) {
  const std::vector<Mask> masks = {{0, 1, 0, 1}, {0, 0, 0, 0}, {1, 1, 1, 0}};
  const MaskPlan plan = plan_from_masks(masks, at::kCPU);
  EXPECT_FALSE(plan.even());
  EXPECT_EQ(plan.counts, (std::vector<int64_t>{2, 0, 3}));
  EXPECT_THROW(plan.masked_count(), std::logic_error);
  EXPECT_THROW(plan.visible_count(), std::logic_error);
  const at::Tensor x = unit_tensor("x", {3, 4, 2});
  EXPECT_TRUE(plan.pick_masked(x).equal(at::stack({x[0][1], x[0][3], x[2][0], x[2][1], x[2][2]}).unsqueeze(0)));
  EXPECT_EQ(plan.pick_visible(x).sizes(), (at::IntArrayRef{1, 7, 2}));
  EXPECT_TRUE(plan.restore(plan.pick_visible(x), plan.pick_masked(x)).equal(x));
}

TEST(MaskPlan, AnEvenPlanPicksSampleBySample) {
  const std::vector<int64_t> samples = {0, 1, 2};
  const MaskPlan plan = Masker(MaskConfig{}, kGrid).draw(1, 0, samples, at::kCPU);
  const at::Tensor x = unit_tensor("x", {3, kPatches, 5});
  EXPECT_TRUE(plan.pick_visible(x).equal(pick_rows(x, plan.visible)));
  EXPECT_TRUE(plan.pick_masked(x).equal(pick_rows(x, plan.masked)));
  EXPECT_THROW(plan.pick_masked(x.slice(1, 1)), std::logic_error);
}

TEST(MaskPlan, GradientsPassThroughRestoreToTheRowsTheyCameFrom) {
  const std::vector<Mask> masks = {{0, 1, 0, 1}, {0, 0, 0, 1}};
  const MaskPlan plan = plan_from_masks(masks, at::kCPU);
  const at::Tensor x = unit_tensor("x", {2, 4, 3}).requires_grad_();
  const at::Tensor weights = unit_tensor("w", {2, 4, 3});
  (plan.restore(plan.pick_visible(x), plan.pick_masked(x)) * weights).sum().backward();
  EXPECT_TRUE(x.grad().equal(weights));
}

TEST(MaskPlan, PerImageWeightsGiveTheMeanOverImagesOfEachImagesMean) {
  const std::vector<Mask> masks = {{0, 1, 0, 1}, {0, 0, 0, 0}, {1, 1, 1, 0}};
  const MaskPlan plan = plan_from_masks(masks, at::kCPU);
  const at::Tensor x = unit_tensor("x", {3, 4, 1});
  const at::Tensor weights = plan.per_image_weights(at::kDouble);
  const double expected =
      ((x[0][1] + x[0][3]) / 2 + (x[2][0] + x[2][1] + x[2][2]) / 3).item<double>() / 3;  // the second image adds 0
  EXPECT_NEAR((plan.pick_masked(x).flatten() * weights).sum().item<double>(), expected, 1e-15);
  EXPECT_EQ(plan.per_image_weights(at::kFloat).scalar_type(), at::kFloat);

  const std::vector<Mask> even = {{0, 1}, {1, 0}};
  EXPECT_TRUE(plan_from_masks(even, at::kCPU).per_image_weights(at::kDouble).equal(at::full({2}, 0.5, at::kDouble)));
}

// ---- Views and guides -----------------------------------------------------------------------------------------------

TEST(Masker, TheFirstCropKeepsTheStreamOfItsSampleAndOthersAreIndependent) {
  const Masker masker(MaskConfig{}, kGrid);
  const std::vector<int64_t> samples = {5, 6};
  const auto draw = [&](int crop, uint64_t epoch) { return masker.draw(1, epoch, samples, at::kCPU, crop).masked; };
  EXPECT_TRUE(draw(0, 2).equal(masker.draw(1, 2, samples, at::kCPU).masked));
  EXPECT_TRUE(draw(1, 2).equal(draw(1, 2)));
  for (const int crop : {1, 2, 11}) {
    for (const uint64_t epoch : {1u, 2u, 3u}) EXPECT_FALSE(draw(crop, 2).equal(draw(0, epoch))) << crop;
  }
  EXPECT_FALSE(draw(1, 2).equal(draw(2, 2)));
}

TEST(Masker, DrawsOfTheFirstCropNeverChange) {
  const std::vector<int64_t> samples = {0, 1};
  const auto digest = [&](MaskKind kind) {
    MaskConfig config;
    config.kind = kind;
    const at::Tensor rows = Masker(config, kGrid).draw(1, 2, samples, at::kCPU).masked;
    return (rows * at::arange(1, rows.numel() + 1)).sum().item<int64_t>();
  };
  EXPECT_EQ(digest(MaskKind::kBlock), 2863587);
  EXPECT_EQ(digest(MaskKind::kRandom), 3198945);
}

MaskConfig by_attention() {
  MaskConfig config;
  config.kind = MaskKind::kAttention;
  config.ratio = 0.75;
  config.rounding = Rounding::kKeepDown;
  return config;
}

TEST(Masker, AnAttentionMaskFollowsItsGuideAndItsStream) {
  const Masker masker(by_attention(), kGrid);
  EXPECT_TRUE(masker.needs_guide());
  const std::vector<int64_t> samples = {5, 6};
  at::Tensor guide = at::full({2, kPatches}, 1e-9);
  guide.slice(1, 10, 59).fill_(1.0);  // as many as stay visible
  const MaskPlan plan = masker.draw(1, 2, samples, at::kCPU, 0, guide);
  EXPECT_EQ(plan.visible_count(), 49);
  EXPECT_TRUE(plan.visible.view({2, 49}).select(0, 1).equal(at::arange(kPatches + 10, kPatches + 59)));
  const at::Tensor flat = at::ones({2, kPatches});
  const at::Tensor base = masker.draw(1, 2, samples, at::kCPU, 0, flat).visible;
  EXPECT_TRUE(base.equal(masker.draw(1, 2, samples, at::kCPU, 0, flat * 7).visible)) << "only proportions matter";
  EXPECT_FALSE(base.equal(masker.draw(1, 2, samples, at::kCPU, 1, flat).visible));
  EXPECT_FALSE(base.equal(masker.draw(1, 3, samples, at::kCPU, 0, flat).visible));
}

TEST(Masker, AnAttentionMaskNeedsAGuideOfItsBatch) {
  const Masker masker(by_attention(), kGrid);
  const std::vector<int64_t> samples = {5, 6};
  EXPECT_THROW(masker.draw(1, 2, samples, at::kCPU), std::logic_error);
  EXPECT_THROW(masker.draw(1, 2, samples, at::kCPU, 0, at::ones({2, kPatches + 1})), std::logic_error);
  EXPECT_THROW(masker.draw(1, 2, samples, at::kCPU, 0, at::ones({1, kPatches})), std::logic_error);
}

// ---- Counts ---------------------------------------------------------------------------------------------------------

TEST(MaskConfig, RoundingsGiveTheCountsOfTheirMethods) {
  LACUNA_NEEDS_SHARED("golden/maskclip/masking.json");
  const Json table = golden_json("maskclip/masking.json").at("image").at("keep_table");
  ASSERT_EQ(table.size(), 13u);
  MaskConfig config;
  config.kind = MaskKind::kRandom;
  config.rounding = Rounding::kKeepDown;
  for (const Json& row : table) {
    config.ratio = row.at("ratio");
    const int64_t patches = row.at("patches");
    EXPECT_EQ(patches - config.hidden(patches), row.at("keep").get<int64_t>()) << row.dump();
  }
}

TEST(MaskConfig, SettingsOfTheUnifiedTableGiveItsCounts) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/sampling.json");
  const Json stored = golden_json("unified/tables/sampling.json");
  const auto hidden = [](double ratio, Rounding rounding, int64_t unit, int64_t patches) {
    MaskConfig config;
    config.kind = MaskKind::kRandom;
    config.ratio = ratio;
    config.rounding = rounding;
    config.unit = unit;
    return config.hidden(patches);
  };
  const Json mae = stored.at("mae").at("kept");
  EXPECT_EQ(mae.size(), 3u);
  EXPECT_EQ(196 - hidden(.75, Rounding::kKeepDown, 1, 196), mae.at("196 at 0.75").get<int64_t>());
  EXPECT_EQ(256 - hidden(.75, Rounding::kKeepDown, 1, 256), mae.at("256 at 0.75").get<int64_t>());
  EXPECT_EQ(196 - hidden(.4, Rounding::kKeepDown, 1, 196), mae.at("196 at 0.4").get<int64_t>());
  EXPECT_EQ(hidden(.6, Rounding::kUp, 2, 196), stored.at("simmim").at("hidden_patches").at("14x14").get<int64_t>());
  EXPECT_EQ(hidden(.6, Rounding::kUp, 2, 36), 24) << "6 of the 9 squares of the miniature";
  EXPECT_EQ(hidden(.4, Rounding::kNearest, 1, 196), stored.at("maskfeat").at("count").get<int64_t>());
}

TEST(MaskConfig, TellsWhichSettingsMayHideDifferentNumbers) {
  MaskConfig config;
  EXPECT_FALSE(config.may_be_uneven());
  config.ratio_max = config.ratio;
  EXPECT_FALSE(config.may_be_uneven());
  config.ratio_max = 0.5;
  EXPECT_TRUE(config.may_be_uneven());
  EXPECT_EQ(config.hidden(kPatches), kPatches / 2) << "the most a sample hides";
  config.ratio_max.reset();
  config.clean_share = 0.5;
  EXPECT_TRUE(config.may_be_uneven());
  config.kind = MaskKind::kNone;
  EXPECT_FALSE(config.may_be_uneven());
  config = {};
  config.kind = MaskKind::kBlockLoose;
  EXPECT_TRUE(config.may_be_uneven());
  config.kind = MaskKind::kBlockToppedUp;
  EXPECT_FALSE(config.may_be_uneven());
}

// ---- Refusals -------------------------------------------------------------------------------------------------------

struct Refusal {
  const char* name;
  MaskConfig config;
  const char* words;
  int64_t grid = kGrid;
};

std::ostream& operator<<(std::ostream& out, const Refusal& each) { return out << each.name; }

class MaskRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(MaskRefusals, AreMadeBeforeAnythingIsDrawn) {
  try {
    const Masker masker(GetParam().config, GetParam().grid);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(GetParam().words), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Settings, MaskRefusals,
    ::testing::Values(
        Refusal{"everything_hidden", {.count = kPatches}, "196 hidden of 196 patches leaves none visible"},
        Refusal{"rounded_to_everything",
                {.kind = MaskKind::kRandom, .ratio = 0.95, .rounding = Rounding::kUp},
                "lower mask.ratio",
                4},
        Refusal{"ratio_max_hides_everything",
                {.kind = MaskKind::kRandom, .ratio = 0.1, .ratio_max = 0.99, .rounding = Rounding::kUp},
                "lower mask.ratio_max",
                4},
        Refusal{"unit_that_does_not_tile", {.kind = MaskKind::kRandom, .unit = 3}, "do not tile a grid of 14 x 14"},
        Refusal{"unit_of_zero", {.kind = MaskKind::kRandom, .unit = 0}, "mask.unit: 0"},
        Refusal{"unit_of_blocks", {.kind = MaskKind::kBlock, .unit = 2}, "only mask.kind=random"},
        Refusal{
            "count_between_squares", {.kind = MaskKind::kRandom, .count = 30, .unit = 2}, "not a multiple of the 4"},
        Refusal{
            "ratio_max_below", {.kind = MaskKind::kRandom, .ratio = 0.4, .ratio_max = 0.3}, "below mask.ratio, 0.4"},
        Refusal{
            "count_and_ratio_max", {.kind = MaskKind::kRandom, .count = 30, .ratio_max = 0.5}, "leave one of them out"},
        Refusal{"attention_with_intact_samples",
                {.kind = MaskKind::kAttention, .clean_share = 0.5},
                "the same number of patches in every sample"},
        Refusal{"attention_of_many_ratios",
                {.kind = MaskKind::kAttention, .ratio_max = 0.6},
                "the same number of patches in every sample"},
        Refusal{"min_block_of_the_grid", {.min_block = kPatches}, "do not fit a grid of 14 x 14"},
        // At least 15 cells, but no side of 4: sqrt(15) rounds to 4.
        Refusal{"blocks_that_never_fit", {.count = 15, .min_block = 15}, "no rectangle of min_block 15", 4},
        Refusal{"loose_blocks_that_never_fit",
                {.kind = MaskKind::kBlockLoose, .count = 15, .min_block = 15},
                "no rectangle of min_block 15",
                4},
        Refusal{"topped_up_blocks_that_never_fit",
                {.kind = MaskKind::kBlockToppedUp, .count = 15, .min_block = 15},
                "no rectangle of min_block 15",
                4}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Masker, AllowsWhatTheCallerMayWant) {
  MaskConfig nothing;
  nothing.count = 0;
  EXPECT_NO_THROW(Masker(nothing, kGrid));
  MaskConfig none;
  none.kind = MaskKind::kNone;
  none.unit = 3;  // a mask that is off is not checked
  EXPECT_NO_THROW(Masker(none, kGrid));
}

}  // namespace
}  // namespace lacuna
