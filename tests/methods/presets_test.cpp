// The presets are the published settings (CAE v2: official scripts; cae.md sections 1, 2 and 5).

#include <gtest/gtest.h>

#include "base/error.h"
#include "methods/methods.h"

namespace lacuna {
namespace {

struct Published {
  std::string size;
  int64_t width, depth, heads, masked, regressor_depth, regressor_width;
  double layer_scale;
};

TEST(CaeV2Preset, IsThePublishedOneOfEachSize) {
  for (const Published& p :
       {Published{"tiny", 192, 12, 12, 30, 1, 96, 0.1}, Published{"small", 384, 12, 12, 49, 1, 384, 0.1},
        Published{"base", 768, 12, 12, 98, 4, 768, 0.1}, Published{"large", 1024, 24, 16, 98, 4, 1024, 1e-5}}) {
    const Recipe recipe = recipe_of("cae_v2", p.size);
    const Composition& c = recipe.composition;
    EXPECT_EQ(c.student.vit.width, p.width) << p.size;
    EXPECT_EQ(c.student.vit.depth, p.depth) << p.size;
    EXPECT_EQ(c.student.vit.heads, p.heads) << p.size;
    EXPECT_EQ(c.student.vit.hidden, 4 * p.width) << p.size;
    EXPECT_EQ(c.student.vit.layer_scale, p.layer_scale) << p.size;
    EXPECT_EQ(c.student.vit.drop_path, 0.1) << p.size;
    EXPECT_EQ(c.student.vit.qkv_bias, QkvBias::kQueryValue) << p.size;
    EXPECT_EQ(c.student.vit.positions, Positions::kSinCos) << p.size;
    EXPECT_EQ(c.mask.kind, MaskKind::kBlock) << p.size;
    EXPECT_EQ(c.mask.hidden(196), p.masked) << p.size;
    EXPECT_EQ(c.completer.kind, CompleterKind::kRegressor) << p.size;
    EXPECT_EQ(c.completer.depth, p.regressor_depth) << p.size;
    EXPECT_EQ(c.completer.width.value_or(p.width), p.regressor_width) << p.size;
    EXPECT_EQ(c.completer.heads, p.heads) << p.size;
    EXPECT_EQ(c.completer.layer_scale, p.layer_scale) << p.size;
    EXPECT_FALSE(c.completer.final_norm) << p.size;
  }
}

TEST(CaeV2Preset, SupervisesClassVisibleAndMaskedTokensAlike) {
  const Composition c = recipe_of("cae_v2", "base").composition;
  ASSERT_EQ(c.objectives.size(), 1u);
  const DistillConfig& d = c.objectives[0].distill;
  EXPECT_EQ(d.regions.cls, 1);
  EXPECT_EQ(d.regions.visible, 1);
  EXPECT_EQ(d.regions.masked, 1);
  EXPECT_EQ(d.reduction, Reduction::kTokenMean);
  EXPECT_EQ(d.normalize, NormalizeKind::kUnit);
  EXPECT_EQ(d.loss.kind, LossKind::kCosine);
  EXPECT_TRUE(d.head.norm);
}

TEST(CaeV2Preset, IsTrainedAsPublished) {
  Recipe recipe = recipe_of("cae_v2", "base");
  recipe.train.batch_size = 2048;
  EXPECT_DOUBLE_EQ(recipe.train.peak_lr(), 1.5e-3);
  EXPECT_DOUBLE_EQ(recipe.train.floor_lr(), 1e-5);
  EXPECT_EQ(recipe.train.duration, (Duration{300, Duration::Unit::kEpochs}));
  const Plan plan = make_plan(recipe.train, {}, {}, 625);
  EXPECT_EQ(plan.total, 187500);
  EXPECT_EQ(plan.schedule.warmup, 6250) << "10 of 300 epochs";
  EXPECT_EQ(recipe.train.adamw.weight_decay, 0.05);
  EXPECT_EQ(recipe.train.adamw.beta2, 0.999);
  EXPECT_EQ(recipe.augment.crop_min, 0.4);
  EXPECT_EQ(recipe.augment.color_jitter, 0.4);
}

TEST(ClipPreset, ReadsCaptionsAndHidesNothing) {
  const Recipe recipe = recipe_of("clip", "base");
  EXPECT_TRUE(reads_captions(recipe.composition));
  EXPECT_EQ(recipe.composition.mask.hidden(196), 0);
  EXPECT_EQ(recipe.augment.flip, 0) << "captions may name sides";
  EXPECT_EQ(recipe.augment.color_jitter, 0) << "captions may name colours";
  EXPECT_FALSE(reads_captions(recipe_of("cae_v2", "base").composition));
}

TEST(Methods, HaveAPresetForEverySizeAndCompleteRows) {
  for (const MethodRow& row : methods()) {
    EXPECT_FALSE(row.title.empty() || row.source.empty() || row.cells.empty()) << row.name;
    EXPECT_EQ(std::count(row.cells.begin(), row.cells.end(), '|'), 3) << row.name;
    for (const std::string& size : vit_size_names()) {
      const Recipe recipe = recipe_of(row.name, size);
      VitConfig vit = recipe.composition.student.vit;
      EXPECT_NO_THROW(validate(vit)) << row.name << " " << size;
      EXPECT_FALSE(recipe.composition.objectives.empty()) << row.name << " " << size;
    }
  }
}

TEST(Methods, UnknownNamesAreAnsweredWithTheNearest) {
  for (const auto& [wrong, near] : {std::pair{"cae-v2", "cae_v2"}, std::pair{"clp", "clip"}}) {
    try {
      method(wrong);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(std::string("did you mean ") + near), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(recipe_of("cae_v2", "huge"), Error);
}

}  // namespace
}  // namespace lacuna
