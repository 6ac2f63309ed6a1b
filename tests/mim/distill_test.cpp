// The objective: how teacher, regions, crops and reductions meet, and which cells cannot stand together.

#include "mim/distill.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mim/method.h"
#include "support/cae_model.h"
#include "support/toy_student.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// Says features of an image by its content, so that crops differ; counts how often it is asked.
class MeanTeacher : public Teacher {
 public:
  ViewSpec view() const override { return {.side = 32, .kernel = Kernel::kBilinear}; }
  int64_t grid() const override { return 4; }
  int64_t patch_side() const override { return 8; }
  int64_t width() const override { return 6; }
  std::string describe() const override { return "means"; }
  static at::Tensor said_of(const at::Tensor& images) {
    return unit_tensor("means", {1, 17, 6}) + images.mean({1, 2, 3}).view({-1, 1, 1});
  }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    ++observed;
    return {.grids = {said_of(images)}};
  }
  void to(at::Device, at::ScalarType) override {}

  int observed = 0;
};

DistillConfig of_region(RegionKind region) {
  DistillConfig c;
  c.normalize.kind = NormalizeKind::kKeep;
  c.region.kind = region;
  c.head = {.kind = HeadKind::kLinear, .norm = false};
  c.loss.kind = LossKind::kL2;
  return c;
}

std::shared_ptr<Head> head_for(const DistillConfig& config) {
  auto head = build_head(config.head, {.width = 24, .out = 6, .grid = 4});
  scatter(*head);
  return head;
}

// One step over crops of an image, without a network behind the latents.
struct Toy {
  explicit Toy(const MaskPlan& plan, int64_t crops = 1) {
    for (int64_t crop = 0; crop < crops; ++crop) {
      views.push_back(toy_images(plan.batch, text("crop", crop)));
      const at::Tensor latents = unit_tensor(text("latents", crop), {plan.batch, 17, 24});
      Pass pass{.plan = plan, .encoded = {}};
      pass.encoded.latents = latents;
      pass.encoded.tokens = split_tokens(latents, plan);
      passes.push_back(pass);
    }
    batch.views = views;
    for (int64_t i = 0; i < plan.batch; ++i) batch.ids.push_back(i);
  }
  Step step() const { return {.batch = batch, .context = context, .passes = passes}; }

  std::vector<at::Tensor> views;
  std::vector<Pass> passes;
  Batch batch;
  StepContext context;
};

struct Pieces {
  MeanTeacher* teacher;
  std::shared_ptr<SharedTeacher> shared;
  std::shared_ptr<Distill> distill;
};

Pieces pieces(const DistillConfig& config, int64_t crops = 1) {
  auto teacher = std::make_unique<MeanTeacher>();
  MeanTeacher* watched = teacher.get();
  auto shared = std::make_shared<SharedTeacher>(std::move(teacher));
  auto distill = std::make_shared<Distill>("target", 1.0, config, shared, head_for(config), /*owns=*/true, crops);
  std::vector<size_t> places;
  for (int64_t crop = 0; crop < crops; ++crop) places.push_back(static_cast<size_t>(crop));
  distill->set_views(places);
  return {watched, shared, distill};
}

// What the l2 loss of each token is, from public parts: [B,1+N].
at::Tensor token_losses(Distill& distill, const Toy& toy, size_t student, size_t target) {
  const at::Tensor prediction =
      distill.head()->forward({.tokens = toy.passes[student].encoded.latents, .places = {}}, nullptr);
  return (prediction - MeanTeacher::said_of(toy.views[target])).square().mean(-1);
}

TEST(RegionConfig, KindsNameTheirRegionsAndWeightsOverride) {
  using enum RegionKind;
  const std::vector<std::pair<RegionKind, Regions>> kinds = {{kMasked, {.masked = 1}},
                                                             {kVisible, {.visible = 1}},
                                                             {kPatches, {.visible = 1, .masked = 1}},
                                                             {kAll, {.cls = 1, .visible = 1, .masked = 1}},
                                                             {kClass, {.cls = 1}},
                                                             {kMaskedAndClass, {.cls = 1, .masked = 1}},
                                                             {kVisibleAndClass, {.cls = 1, .visible = 1}}};
  ASSERT_EQ(kinds.size(), std::size(kRegionKinds));
  for (const auto& [kind, wanted] : kinds)
    EXPECT_EQ(RegionConfig{.kind = kind}.weights(), wanted) << name_of(kRegionKinds, kind);
  EXPECT_EQ((RegionConfig{.kind = kAll, .cls = 0.5, .masked = 0}).weights(), (Regions{.cls = 0.5, .visible = 1}));
}

TEST(Distill, EveryReductionIsItsFormulaForEvenAndUnevenMasks) {
  for (const MaskPlan& plan : {toy_plan(3), uneven_plan()}) {
    const Toy toy(plan);
    DistillConfig config = of_region(RegionKind::kAll);
    config.region.cls = 0.5;
    config.region.masked = 2;
    const at::Tensor each = token_losses(*pieces(config).distill, toy, 0, 0);  // [B,17]
    const at::Tensor hidden = at::zeros({48}, at::kDouble).index_fill(0, plan.masked, 1.0).view({3, 16});
    const at::Tensor cls = each.slice(1, 0, 1), patches = each.slice(1, 1);
    const auto weighted = [&](const at::Tensor& c, const at::Tensor& p) {
      return 0.5 * c.sum() + (p * (1 - hidden)).sum() + 2 * (p * hidden).sum();
    };
    const at::Tensor seen_parts = 0.5 * cls.mean() + (patches * (1 - hidden)).sum() / (1 - hidden).sum();
    const at::Tensor image_means = (patches * hidden).sum(1) / hidden.sum(1).clamp_min(1);
    const std::map<Reduction, at::Tensor> wanted = {
        {Reduction::kTokenMean, weighted(cls, patches) / weighted(at::ones_like(cls), at::ones_like(patches))},
        {Reduction::kFixedDenominator, weighted(cls, patches) / 51.0},
        {Reduction::kRegionMeans, seen_parts + 2 * (patches * hidden).sum() / hidden.sum()},
        {Reduction::kImageMean, seen_parts + 2 * image_means.mean()}};
    ASSERT_EQ(wanted.size(), std::size(kReductions));
    for (const auto& [reduction, value] : wanted) {
      config.reduction = reduction;
      EXPECT_LT(deviation(pieces(config).distill->losses(toy.step()).total, value), 1e-13)
          << name_of(kReductions, reduction) << (plan.even() ? " even" : " uneven");
    }
  }
}

TEST(Distill, ABatchThatHidesNothingCostsNothingAndStaysFinite) {
  const Toy toy(plan_from_masks(filled_masks(2, 16, 0), at::kCPU));
  for (const auto& reduction : kReductions) {
    DistillConfig config = of_region(RegionKind::kMasked);
    config.reduction = reduction.value;
    EXPECT_EQ(pieces(config).distill->losses(toy.step()).total.item<double>(), 0) << reduction.name;
  }
}

TEST(SharedTeacher, IsShownAnImageOnceAStepByAllObjectives) {
  const Toy toy(toy_plan(), 2);
  Pieces p = pieces(of_region(RegionKind::kPatches), 2);
  Distill second("second", 1.0, of_region(RegionKind::kClass), p.shared, p.distill->head(), /*owns=*/false, 2);
  second.set_views({0, 1});
  for (int step = 1; step <= 3; ++step) {
    p.distill->losses(toy.step());
    second.losses(toy.step());
    EXPECT_EQ(p.teacher->observed, 2 * step) << "two crops";
    p.distill->forget();
    second.forget();
  }
}

TEST(SharedTeacher, OneObjectiveOwnsTheHead) {
  Pieces p = pieces(of_region(RegionKind::kPatches));
  const Distill second("second", 1.0, of_region(RegionKind::kClass), p.shared, p.distill->head(), /*owns=*/false);
  EXPECT_EQ(named_tensors(*p.distill).size(), 2u);
  EXPECT_TRUE(named_tensors(second).empty());
}

TEST(Crops, TargetsAreOfTheStudentsOwnCrop) {
  const Toy toy(toy_plan(), 2);
  Pieces p = pieces(of_region(RegionKind::kMasked), 2);
  at::Tensor wanted = at::zeros({}, at::kDouble);
  for (const size_t crop : {0, 1}) {
    const at::Tensor each = token_losses(*p.distill, toy, crop, crop).slice(1, 1).flatten();
    wanted = wanted + each.index_select(0, toy_plan().masked).mean() / 2;
  }
  EXPECT_LT(deviation(p.distill->losses(toy.step()).total, wanted), 1e-13);
}

TEST(Crops, OfOthersPairsEveryCropWithEachOther) {
  const Toy toy(toy_plan(), 3);
  DistillConfig config = of_region(RegionKind::kClass);
  config.crops = CropPairs::kOthers;
  Pieces p = pieces(config, 3);
  at::Tensor wanted = at::zeros({}, at::kDouble);
  for (size_t a = 0; a < 3; ++a) {
    for (size_t b = 0; b < 3; ++b) {
      if (a != b) wanted = wanted + token_losses(*p.distill, toy, a, b).select(1, 0).mean() / 6;
    }
  }
  EXPECT_LT(deviation(p.distill->losses(toy.step()).total, wanted), 1e-13);
  EXPECT_EQ(p.teacher->observed, 3);
}

TEST(Crops, OfAMethodHaveViewsAndMasksOfTheirOwn) {
  Student student = toy_student({.mode = StudentMode::kPaint});
  const DistillConfig config = of_region(RegionKind::kMasked);
  auto distill =
      std::make_shared<Distill>("target", 1.0, config, std::make_shared<SharedTeacher>(std::make_unique<MeanTeacher>()),
                                head_for(config), /*owns=*/true, 2);
  Method method({.student_view = {.side = 32},
                 .masker = Masker({.kind = MaskKind::kRandom, .ratio = 0.5}, 4),
                 .student = student,
                 .objectives = {distill},
                 .crops = 2});
  const std::vector<ViewSpec> views = method.views();  // the student's, then the teacher's, whose filter differs
  ASSERT_EQ(views.size(), 4u);
  for (const size_t i : {0, 1, 2, 3}) {
    EXPECT_EQ(views[i].crop, static_cast<int>(i % 2));
    EXPECT_EQ(views[i].kernel, i < 2 ? Kernel::kBicubic : Kernel::kBilinear);
  }
  Batch batch{.views = {}, .ids = {0, 1}, .labels = {}, .captions = {}};
  for (const ViewSpec& view : views) batch.views.push_back(toy_images(2, text("crop", view.crop)));
  const StepContext context;
  const MaskPlan first = method.plan(batch, context, 0), second = method.plan(batch, context, 1);
  EXPECT_FALSE(first.masked.equal(second.masked));
  const Step step = method.look(batch, context, nullptr);
  ASSERT_EQ(step.passes.size(), 2u);
  EXPECT_TRUE(step.passes[0].plan.masked.equal(first.masked));
  EXPECT_TRUE(step.passes[1].plan.masked.equal(second.masked));
  EXPECT_TRUE(step.passes[1].encoded.latents.equal(student(batch.views[1], second, true, nullptr).latents));
}

TEST(Distill, PrototypesRestAtFirst) {
  DistillConfig config = of_region(RegionKind::kMasked);
  config.normalize = {.kind = NormalizeKind::kCenterSharpen};
  config.loss.kind = LossKind::kSoftCrossEntropy;
  config.head = {.kind = HeadKind::kProjection, .hidden = 20, .bottleneck = 8, .prototypes = 6};
  config.freeze_prototypes = 1.5;
  Pieces p = pieces(config);
  const Toy toy(toy_plan());
  const auto moves = [&](int64_t step) {
    p.distill->losses(toy.step()).total.backward();
    p.distill->forget();
    p.distill->before_update({.step = step, .steps_per_epoch = 4});
    bool prototypes = false;
    for (const auto& [name, parameter] : named_tensors(*p.distill->head())) {
      if (name == "weight_v") {
        prototypes = parameter.grad().defined();
      } else {
        EXPECT_TRUE(parameter.grad().defined()) << name;
      }
    }
    return prototypes;
  };
  EXPECT_FALSE(moves(0));
  EXPECT_FALSE(moves(5)) << "half of the second epoch";
  EXPECT_TRUE(moves(6));
}

TEST(Distill, CentringMovesAfterAStepOfTrainingAlone) {
  DistillConfig config = of_region(RegionKind::kMasked);
  config.normalize = {.kind = NormalizeKind::kCenterSharpen, .momentum = 0.75};
  config.loss.kind = LossKind::kSoftCrossEntropy;
  Pieces p = pieces(config);
  Toy toy(toy_plan());
  const auto centre = [&] { return find(p.distill->extra_state(), "normalize.center")->clone().flatten(); };
  toy.context.training = false;
  p.distill->losses(toy.step());
  p.distill->after_step(toy.context);
  EXPECT_EQ(largest(centre()), 0) << "looking changes nothing";
  toy.context.training = true;
  p.distill->losses(toy.step());
  EXPECT_EQ(largest(centre()), 0) << "not before the weights have moved";
  p.distill->after_step(toy.context);
  EXPECT_LT(deviation(centre(), 0.25 * MeanTeacher::said_of(toy.views[0]).slice(1, 1).mean({0, 1})), 1e-14);
}

// ---- What cannot stand together -------------------------------------------------------------------------------------

struct Cell {
  std::string name;
  std::string says;
  std::function<void(DistillConfig&)> change;
  enum { kFeatures, kClasses, kPixels, kHidden } teacher = kFeatures;
  int64_t crops = 1;
};

std::unique_ptr<Teacher> teacher_of(const Cell& cell) {
  const StudentSides kSides{.image_side = 32, .patch_side = 8};
  switch (cell.teacher) {
    case Cell::kClasses:
      return std::make_unique<FixedTeacher>(at::zeros({2, 16}, at::kLong), 6, toy_vit());
    case Cell::kPixels:
      return make_image_teacher({.kind = TeacherKind::kPixels}, kSides);
    case Cell::kHidden:
      return make_twin_teacher({.kind = TeacherKind::kSelf, .sees = TeacherSight::kMasked}, kSides, toy_student({}),
                               nullptr, {});
    case Cell::kFeatures:
      break;
  }
  return std::make_unique<MeanTeacher>();
}

std::string refusal(const Cell& cell) {
  DistillConfig config = of_region(RegionKind::kMasked);
  cell.change(config);
  return refusal_of([&] {
    auto teacher = teacher_of(cell);
    const auto head = build_head(config.head, {.width = 24, .out = teacher->width(), .grid = 4});
    Distill("target", 1.0, config, std::make_shared<SharedTeacher>(std::move(teacher)), head, true, cell.crops);
  });
}

void nothing(DistillConfig&) {}
void classes(DistillConfig& c) { c.loss.kind = LossKind::kCrossEntropy; }
void others(DistillConfig& c) { c.crops = CropPairs::kOthers; }
void others_of_the_class_token(DistillConfig& c) {
  others(c);
  c.region.kind = RegionKind::kClass;
}

const std::vector<Cell>& cells() {
  static const std::vector<Cell> kCells = {
      {"features", "accepted", nothing},
      {"classes", "accepted", classes, Cell::kClasses},
      {"pixels", "accepted", nothing, Cell::kPixels},
      {"hidden", "accepted", nothing, Cell::kHidden},
      {"others", "accepted", others_of_the_class_token, Cell::kFeatures, 2},
      {"nothing_supervised", "all regions have weight 0, so nothing is supervised",
       [](DistillConfig& c) { c.region.masked = 0; }},
      {"temperature", "normalize.temperature", [](DistillConfig& c) { c.normalize.temperature.start = 0; }},
      {"classes_by_distance", "the teacher gives classes, which loss l2 cannot compare; use loss=cross_entropy",
       nothing, Cell::kClasses},
      {"classes_normalised", "classes cannot be normalised (unit); use normalize=keep",
       [](DistillConfig& c) {
         classes(c);
         c.normalize.kind = NormalizeKind::kUnit;
       },
       Cell::kClasses},
      {"features_as_classes", "use a tokenizer (teacher.kind=dvae or vqkd), or a loss such as smooth_l1 or cosine",
       classes},
      {"soft_without_probabilities", "loss soft_cross_entropy and normalize keep do not fit",
       [](DistillConfig& c) { c.loss.kind = LossKind::kSoftCrossEntropy; }},
      {"probabilities_without_soft", "loss l2 and normalize center_sharpen do not fit",
       [](DistillConfig& c) { c.normalize.kind = NormalizeKind::kCenterSharpen; }},
      {"no_class_token", "has none; set region=masked, visible or patches",
       [](DistillConfig& c) { c.region.kind = RegionKind::kAll; }, Cell::kPixels},
      {"hidden_only", "so only region=masked has targets",
       [](DistillConfig& c) { c.region.kind = RegionKind::kPatches; }, Cell::kHidden},
      {"hidden_of_others", "use crops=same", others, Cell::kHidden, 2},
      {"others_of_patches", "it needs crops of at least 2 and region=cls", others, Cell::kFeatures, 2},
      {"others_of_one", "it needs crops of at least 2 and region=cls", others_of_the_class_token},
      {"other_width", "the head gives 7 channels, the target has 6",
       [](DistillConfig& c) { c.head = {.kind = HeadKind::kProjection, .prototypes = 7}; }},
      {"state_of_the_mean", "center_sharpen keeps a state, which only targets can have",
       [](DistillConfig& c) { c.normalize_mean.kind = NormalizeKind::kCenterSharpen; }},
      {"state_of_predictions", "whiten keeps a state, which only targets can have",
       [](DistillConfig& c) { c.normalize_prediction.kind = NormalizeKind::kWhiten; }},
      {"running_predictions", "batch_norm keeps a state",
       [](DistillConfig& c) { c.normalize_prediction = {.kind = NormalizeKind::kBatchNorm, .running = true}; }}};
  return kCells;
}

class Cells : public ::testing::TestWithParam<size_t> {};

TEST_P(Cells, AreRefusedWithTheKeyAndWhatWouldFit) {
  const Cell& cell = cells()[GetParam()];
  const std::string message = refusal(cell);
  EXPECT_SAYS(message, cell.says);
  if (cell.says != "accepted" && cell.name != "temperature") {
    EXPECT_SAYS(message, "objective 'target': ");
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Cells, ::testing::Range(size_t{0}, cells().size()),
                         [](const auto& each) { return cells()[each.param].name; });

}  // namespace
}  // namespace lacuna
