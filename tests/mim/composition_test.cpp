#include "mim/composition.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

std::shared_ptr<const Tokenizer> small_tokenizer() {
  const std::vector<std::string> captions = {"a red circle", "a blue square", "a small green star"};
  return std::make_shared<Tokenizer>(Tokenizer::train(captions, 520));
}

StudentConfig small_student() {
  StudentConfig student;
  student.vit = named_vit("micro");
  student.vit.depth = 1;
  student.image_side = 32;
  student.patch_side = 8;
  return student;
}

Composition contrast() {
  Composition c;
  c.mask.kind = MaskKind::kNone;
  c.student = small_student();
  ObjectiveConfig objective{.name = "contrast", .kind = ObjectiveKind::kContrast, .weight = 0.5};
  objective.contrast.text.width = 32;
  objective.contrast.text.depth = 1;
  objective.contrast.text.heads = 2;
  objective.contrast.text.context = 12;
  objective.contrast.text.activation = Activation::kGelu;
  objective.contrast.embed = 16;
  objective.contrast.temperature = 0.1;
  c.objectives = {objective};
  return c;
}

Composition distill() {
  Composition c;
  c.mask = {.kind = MaskKind::kRandom, .ratio = 0.5};
  c.student = small_student();
  c.completer = {.kind = CompleterKind::kRegressor, .depth = 1, .heads = 3};
  ObjectiveConfig objective{.name = "near"};
  objective.teacher.path = golden_path("models/clip_hf/quickgelu");
  objective.distill = {.normalize = NormalizeKind::kLayerNorm,
                       .regions = {.cls = 0.5, .visible = 1, .masked = 2},
                       .reduction = Reduction::kRegionMeans,
                       .head = {.norm = false},
                       .loss = {.kind = LossKind::kSmoothL1, .beta = 0.5}};
  c.objectives = {objective, objective};
  c.objectives[1] = {
      .name = "far", .weight = 0.25, .teacher = {.path = objective.teacher.path, .layer = TeacherLayer::kNormed}};
  c.objectives[1].distill.regions = {.cls = 1, .visible = 0, .masked = 0};
  return c;
}

Composition read_back(const Composition& c) {
  Composition out;
  apply(Settings::from_text(to_toml(c), "saved"), out);
  return out;
}

// The loss of a fixed batch: whatever is lost on the way through text shows in it.
double loss_of(const Composition& c) {
  const auto method = build_method(c, reads_captions(c) ? small_tokenizer() : nullptr, 5);
  Batch batch{
      .views = {}, .ids = {0, 1, 2}, .labels = {}, .captions = {"a red circle", "a green star", "a blue square"}};
  for (const ViewSpec& view : method->views()) {
    std::vector<std::uint8_t> pixels(static_cast<size_t>(3 * view.side * view.side * 3));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i % 251);
    batch.views.push_back(normalize_pixels(pixels, 3, view, at::kCPU));
  }
  return method->losses(batch, {.seed = 1, .training = false}).total.item<double>();
}

std::string fault(const Composition& c) {
  try {
    build_method(c, small_tokenizer(), 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_FAULT(composition, part) \
  EXPECT_NE(fault(composition).find(part), std::string::npos) << fault(composition)

TEST(Composition, ContrastSurvivesItsWayThroughARecipe) {
  const Composition c = contrast();
  EXPECT_TRUE(diff(c, read_back(c)).empty());
  EXPECT_EQ(loss_of(read_back(c)), loss_of(c));
}

TEST(Composition, DistillationSurvivesItsWayThroughARecipe) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  const Composition c = distill(), again = read_back(c);
  EXPECT_TRUE(diff(c, again).empty());
  ASSERT_EQ(again.objectives.size(), 2u);
  EXPECT_EQ(loss_of(again), loss_of(c));
  Composition other = c;
  other.objectives[1].weight = 0.5;
  EXPECT_NE(loss_of(other), loss_of(c)) << "the loss tells compositions apart";
}

TEST(Composition, ASeedNamesTheWeights) {
  const auto weight = [](uint64_t seed) {
    return build_method(contrast(), small_tokenizer(), seed)
        ->student()
        ->vit->named_parameters()["patch_embed.weight"]
        .clone();
  };
  EXPECT_TRUE(at::equal(weight(1), weight(1)));
  EXPECT_FALSE(at::equal(weight(1), weight(2)));
}

TEST(Composition, RefusesWhatDoesNotFit) {
  Composition none = contrast();
  none.objectives.clear();
  EXPECT_FAULT(none, "the list is empty");
  Composition twins = contrast();
  twins.objectives.push_back(twins.objectives[0]);
  EXPECT_FAULT(twins, "two are named 'contrast'");
  Composition named = contrast();
  named.objectives[0].name = "a.b";
  EXPECT_FAULT(named, "lower-case letters");
  Composition uneven = contrast();
  uneven.student.image_side = 33;
  EXPECT_NE(fault(uneven), "no error");
  Composition alone = contrast();
  alone.objectives = {ObjectiveConfig{}};
  EXPECT_FAULT(alone, "set teacher=DIR");
}

TEST(Composition, RefusesMaskedSupervisionWithoutMaskOrCompleter) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  EXPECT_EQ(fault(distill()), "no error");
  Composition blind = distill();
  blind.completer.kind = CompleterKind::kNone;
  EXPECT_FAULT(blind, "set completer.kind=regressor");
  Composition open = distill();
  open.mask.kind = MaskKind::kNone;
  EXPECT_FAULT(open, "the mask hides none");
  Composition idle = distill();
  idle.objectives[0].distill.regions = {.cls = 0, .visible = 0, .masked = 0};
  EXPECT_FAULT(idle, "nothing is supervised");
}

TEST(Composition, OpenSidesFollowTheTeacher) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");  // 32 px, patches of 8
  Composition c = distill();
  c.student.image_side.reset();
  c.student.patch_side.reset();
  EXPECT_EQ(backbone_config(*build_method(c, nullptr, 0)).vit.image_side, 32);
  c.student.patch_side = 16;
  EXPECT_EQ(backbone_config(*build_method(c, nullptr, 0)).vit.image_side, 64);
  c.student.image_side = 32;
  EXPECT_FAULT(c, "Use a student.image_side of 64");
}

}  // namespace
}  // namespace lacuna
