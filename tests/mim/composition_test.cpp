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
  c.text_tower.tower.width = 32;
  c.text_tower.tower.depth = 1;
  c.text_tower.tower.heads = 2;
  c.text_tower.tower.context = 12;
  c.text_tower.tower.activation = Activation::kGelu;
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
  objective.distill = {.normalize = {.kind = NormalizeKind::kLayerNorm},
                       .region = {.cls = 0.5, .visible = 1, .masked = 2},
                       .reduction = Reduction::kRegionMeans,
                       .head = {.norm = false},
                       .loss = {.kind = LossKind::kSmoothL1, .beta = 0.5}};
  c.objectives = {objective, objective};
  c.objectives[1] = {
      .name = "far", .weight = 0.25, .teacher = {.path = objective.teacher.path, .layer = TeacherLayer::kNormed}};
  c.objectives[1].distill.region = {.kind = RegionKind::kClass};
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

TEST(Composition, AnObjectiveOfWeightZeroIsNotBuilt) {
  Composition c = contrast();
  ObjectiveConfig pixels{.name = "pixels"};
  pixels.teacher.kind = TeacherKind::kPixels;
  pixels.distill.region.kind = RegionKind::kVisible;
  pixels.distill.loss.kind = LossKind::kL2;
  pixels.distill.normalize.kind = NormalizeKind::kKeep;
  c.objectives.push_back(pixels);
  EXPECT_EQ(build_method(c, small_tokenizer(), 5)->objectives().size(), 2u);
  c.objectives[1].weight = 0;
  EXPECT_EQ(build_method(c, small_tokenizer(), 5)->objectives().size(), 1u);
  EXPECT_EQ(loss_of(c), loss_of(contrast()));
  c.objectives[1].weight = 1;
  c.objectives[0].weight = 0;
  EXPECT_FALSE(reads_captions(c));
  EXPECT_FALSE(build_method(c, nullptr, 5)->wants_captions());
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
  EXPECT_FAULT(none, "none has a weight above 0");
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
  idle.objectives[0].distill.region = {.cls = 0, .visible = 0, .masked = 0};
  EXPECT_FAULT(idle, "nothing is supervised");
}

// ---- What cannot stand together -------------------------------------------------------------------------------------

// A student that paints and predicts pixels; `toml` goes on top of it.
std::string fault_of(const std::string& toml) {
  Composition c;
  c.student = small_student();
  c.student.mode = StudentMode::kPaint;
  c.mask = {.kind = MaskKind::kRandom, .ratio = 0.5};
  ObjectiveConfig objective{.name = "pixels"};
  objective.teacher.kind = TeacherKind::kPixels;
  objective.distill.normalize.kind = NormalizeKind::kKeep;
  objective.distill.loss.kind = LossKind::kL2;
  c.objectives = {objective};
  apply(Settings::from_text(toml, "test"), c);
  return fault(c);
}

struct Unfit {
  std::string name, toml, says;
};

class Refusals : public ::testing::TestWithParam<Unfit> {};

TEST_P(Refusals, NameTheKeyAndWhatWouldFit) {
  const std::string message = fault_of(GetParam().toml);
  EXPECT_NE(message.find(GetParam().says), std::string::npos) << message;
}

// A list that is given replaces the one before.
const std::string kPixels =
    "[[objective]]\nname = 'pixels'\nteacher = {kind = 'pixels'}\nnormalize = 'keep'\nloss = 'l2'\n";
std::string second(const std::string& more) { return kPixels + "[[objective]]\nname = 'second'\n" + more; }

INSTANTIATE_TEST_SUITE_P(
    All, Refusals,
    ::testing::Values(
        Unfit{"nothing_wrong", "", "no error"},
        Unfit{"two_objectives", second("shares = 'pixels'\nnormalize = 'keep'\nloss = 'l2'"), "no error"},
        Unfit{"shares_nobody", second("shares = 'nobody'"),
              "objective 'second': it shares head and teacher of 'nobody', but no distill objective before it has that "
              "name"},
        Unfit{"shares_a_later_one", "[[objective]]\nname = 'first'\nshares = 'pixels'\n" + kPixels,
              "no distill objective before it has that name"},
        Unfit{"prototypes_of_pixels", "objective.0.head = 'projection'",
              "(teacher.kind=momentum or self), not pixels of patches of 8 px; use head.kind=linear or mlp"},
        Unfit{"pixels_of_the_class_token", "objective.0.region = 'all'",
              "has none; set region=masked, visible or patches"},
        Unfit{"codebook", "objective.0.head = 'dictionary'\n", "use teacher.kind=vqkd, or head.kind=linear"},
        Unfit{"identity", "objective.0.head = 'identity'\n", "but the target has width 192; use head.kind=linear"},
        Unfit{"hog_cells", "objective.0.teacher = {kind = 'hog', hog_cell = 3}",
              "teacher.hog_cell: cells of 3 px do not tile patches of 8 px; use a divisor of it"},
        Unfit{"no_dvae", "objective.0.teacher = {kind = 'dvae'}\nobjective.0.loss = 'cross_entropy'\n",
              "set teacher=FILE"},
        Unfit{"no_vit", "objective.0.teacher = {kind = 'vit'}\n", "set teacher=DIR"},
        Unfit{"no_guide", "mask.kind = 'attention'",
              "mask.kind: attention asks a teacher which patches matter, and no objective's teacher can tell"},
        Unfit{"drop_alone", "student.mode = 'drop'",
              "set completer.kind=regressor or decoder, student.mode=paint, or the weight of its masked region to 0"},
        Unfit{"mask_of_none", "mask.kind = 'none'", "the mask hides none; raise mask.ratio or mask.count"},
        Unfit{
            "drop_of_loose_blocks",
            "student.mode = 'drop'\ncompleter = {kind = 'decoder', heads = 3}\nmask = {kind = 'block_loose', min_block "
            "= 2}",
            "student.mode=drop encodes the visible patches alone and needs the same number of hidden patches in every "
            "image, which mask.kind=block_loose, mask.ratio_max and mask.clean_share do not give"},
        Unfit{"drop_of_drawn_ratios",
              "student.mode = 'drop'\ncompleter = {kind = 'decoder', heads = 3}\nmask.ratio_max = 0.7",
              "or student.mode=paint"},
        Unfit{"paint_of_drawn_ratios", "mask.ratio_max = 0.7", "no error"},
        Unfit{"paint_of_clean_images", "mask.clean_share = 0.5", "no error"},
        Unfit{"decoder_head_of_drawn_ratios", "mask.ratio_max = 0.7\nobjective.0.head = {kind = 'decoder', heads = 3}",
              "objective 'pixels' looks from one token of an image to the others"},
        Unfit{"info_nce_of_drawn_ratios", "mask.ratio_max = 0.7\nobjective.0.loss = 'info_nce'",
              "needs the same number of hidden patches in every image"},
        Unfit{"instance_norm_of_drawn_ratios",
              "mask.ratio_max = 0.7\nobjective.0.normalize_prediction = 'instance_norm'",
              "needs the same number of hidden patches in every image"},
        Unfit{"hidden_teacher_of_drawn_ratios",
              "mask.ratio_max = 0.7\nobjective.0.teacher = {kind = 'self', sees = 'masked'}\nobjective.0.head = "
              "'identity'",
              "needs the same number of hidden patches in every image"},
        Unfit{"hidden_patches_of_a_decoders_width",
              "student.mode = 'drop'\ncompleter = {kind = 'decoder', width = 48, heads = 3}\nobjective.0.teacher = "
              "{kind = 'self', sees = 'masked'}\nobjective.0.head = 'identity'",
              "identity hands on tokens of width 48, but the target has width 96; use head.kind=linear"},
        Unfit{"completer_over_paint", "completer = {kind = 'regressor', heads = 3}", "Set completer.kind=none"},
        Unfit{"aggregation_of_drop", "student = {mode = 'drop', aggregation = {layer = 1}}", "set student.mode=paint"},
        Unfit{"aggregation_beyond", "student.aggregation = {layer = 2}", "but the student has 1 blocks"},
        Unfit{"crops_of_one", "objective.0.crops = 'others'\n", "it needs crops of at least 2 and region=cls"},
        Unfit{"side", "student.image_side = 33", "image side 33 is not a multiple of the patch side 8"},
        Unfit{"words", second("kind = 'masked_language'\nwords = {heads = 5}"),
              "the text tower's width 512 is not divisible into 5 heads; set words.heads"},
        Unfit{"word_shares", second("kind = 'masked_language'\nwords = {mask_share = 0.8, random_share = 0.3}"),
              "words.mask_share 0.8 and words.random_share 0.3 are more than all chosen words"}),
    [](const auto& each) { return each.param.name; });

TEST(Refusals, OfATeachersFolderAreMadeBeforeThoseOfTheMask) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");  // 32 px, patches of 8
  Composition c = distill();
  c.student.patch_side = 16;
  c.student.image_side = 32;
  c.mask = {.kind = MaskKind::kBlock, .ratio = 0.5, .min_block = 16};
  EXPECT_FAULT(c, "Use a student.image_side of 64");
}

TEST(Refusals, OfAClipsLayersNameWhatThereIs) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Composition c = distill();
  c.objectives[0].teacher.top_blocks = 99;
  EXPECT_FAULT(c, "teacher.top_blocks: 99, but");
  c = distill();
  c.objectives[0].teacher.path = "/no/such/teacher";
  EXPECT_FAULT(c, "teacher: /no/such/teacher: does not exist");
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
