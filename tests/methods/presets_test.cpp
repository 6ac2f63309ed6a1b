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
  EXPECT_EQ(d.region.weights(), (Regions{.cls = 1, .visible = 1, .masked = 1}));
  EXPECT_EQ(d.reduction, Reduction::kTokenMean);
  EXPECT_EQ(d.normalize.kind, NormalizeKind::kUnit);
  EXPECT_EQ(d.loss.kind, LossKind::kCosine);
  EXPECT_EQ(d.head.kind, HeadKind::kLinear);
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

TEST(CaePreset, IsThePublishedOneOfEachSize) {  // cae.md sections 1.1 and 5.2; large as intended, not as released
  for (const Published& p :
       {Published{"base", 768, 12, 12, 98, 4, 768, 0.1}, Published{"large", 1024, 24, 16, 98, 4, 1024, 1e-5}}) {
    const Composition c = recipe_of("cae", p.size).composition;
    EXPECT_EQ(c.student.vit.width, p.width) << p.size;
    EXPECT_EQ(c.student.vit.depth, p.depth) << p.size;
    EXPECT_EQ(c.student.vit.heads, p.heads) << p.size;
    EXPECT_EQ(c.student.vit.layer_scale, p.layer_scale) << p.size;
    EXPECT_EQ(c.student.vit.drop_path, 0.1) << p.size;
    EXPECT_EQ(c.student.vit.qkv_bias, QkvBias::kQueryValue) << p.size;
    EXPECT_EQ(c.student.vit.positions, Positions::kSinCos) << p.size;
    EXPECT_EQ(c.student.mode, StudentMode::kDrop) << p.size;
    EXPECT_EQ(c.student.init, InitScheme::kCae) << p.size;
    EXPECT_EQ(c.mask.kind, MaskKind::kBlock) << p.size;
    EXPECT_EQ(c.mask.hidden(196), p.masked) << p.size;
    EXPECT_EQ(c.completer.kind, CompleterKind::kRegressor) << p.size;
    EXPECT_EQ(c.completer.depth, p.regressor_depth) << p.size;
    EXPECT_EQ(c.completer.width.value_or(p.width), p.regressor_width) << p.size;
    EXPECT_EQ(c.completer.heads, p.heads) << p.size;
    EXPECT_EQ(c.completer.layer_scale, p.layer_scale) << p.size;
    EXPECT_TRUE(c.completer.final_norm) << p.size;
    const HeadConfig& head = c.objectives.at(0).distill.head;
    EXPECT_EQ(head.kind, HeadKind::kDecoder) << p.size;
    EXPECT_EQ(head.depth, 4) << p.size;
    EXPECT_EQ(head.heads, p.heads) << p.size;
    EXPECT_EQ(head.layer_scale, p.layer_scale) << p.size;
    EXPECT_EQ(head.drop_path, 0.1) << p.size;
  }
}

TEST(CaePreset, PredictsClassesAndAlignsLatentsOfHiddenPatches) {
  const Recipe recipe = recipe_of("cae", "base");
  const auto& objectives = recipe.composition.objectives;
  ASSERT_EQ(objectives.size(), 2u);
  for (const ObjectiveConfig& each : objectives) {
    EXPECT_EQ(each.distill.region.weights(), (Regions{.masked = 1})) << each.name;
    EXPECT_EQ(each.distill.normalize.kind, NormalizeKind::kKeep) << each.name;
  }
  EXPECT_EQ(objectives[0].teacher.kind, TeacherKind::kDvae);
  EXPECT_EQ(objectives[0].distill.loss.kind, LossKind::kCrossEntropy);
  EXPECT_EQ(objectives[0].weight, 1);
  EXPECT_EQ(objectives[1].teacher.kind, TeacherKind::kSelf);
  EXPECT_EQ(objectives[1].teacher.sees, TeacherSight::kMasked);
  EXPECT_TRUE(objectives[1].teacher.drop_path);
  EXPECT_EQ(objectives[1].distill.head.kind, HeadKind::kIdentity);
  EXPECT_EQ(objectives[1].distill.loss.kind, LossKind::kL2);
  EXPECT_EQ(objectives[1].weight, 2);
  EXPECT_EQ(recipe.augment.crop_min, 0.08);
  EXPECT_EQ(recipe.augment.color_jitter, 0);
  EXPECT_EQ(recipe.train.adamw.weight_decay, 0.05);
  EXPECT_EQ(recipe.train.adamw.clip, 3.0);
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
    EXPECT_FALSE(row.title.empty() || row.source.empty()) << row.name;
    for (const std::string& size : vit_size_names()) {
      const Recipe recipe = recipe_of(row.name, size);
      VitConfig vit = recipe.composition.student.vit;
      EXPECT_NO_THROW(validate(vit)) << row.name << " " << size;
      EXPECT_FALSE(recipe.composition.objectives.empty()) << row.name << " " << size;
      const Cells cells = cells_of(recipe.composition);
      EXPECT_FALSE(cells.mask.empty() || cells.encode.empty() || cells.complete.empty()) << row.name << " " << size;
      ASSERT_EQ(cells.objectives.size(), recipe.composition.objectives.size()) << row.name << " " << size;
      for (const std::string& cell : cells.objectives)
        EXPECT_NE(cell.find(" -> "), std::string::npos) << row.name << " " << size << ": " << cell;
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
  EXPECT_THROW(recipe_of("cae_v2", "giant"), Error);
}

}  // namespace
}  // namespace lacuna
