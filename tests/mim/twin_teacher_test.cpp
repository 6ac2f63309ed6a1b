// Teachers made of the student: when and how they follow, what they look at, what a resume needs.

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "mim/composition.h"
#include "support/temporary_folder.h"
#include "support/toy_student.h"
#include "train/trainer.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

const StudentSides kSides{.image_side = 32, .patch_side = 8};

TeacherConfig of_kind(TeacherKind kind) { return {.kind = kind, .momentum = {.start = 0.9}}; }

std::unique_ptr<Teacher> twin(const TeacherConfig& config, const Student& student) {
  auto teacher = make_twin_teacher(config, kSides, student, nullptr, {});
  teacher->begin(5);
  return teacher;
}

at::Tensor seen(Teacher& teacher, PathDrop* drop = nullptr) {
  const Observation out = teacher.observe(toy_images(), toy_plan(), drop);
  EXPECT_FALSE(out.grids.at(0).requires_grad());
  return out.grids.at(0);
}

void move(Student& student) { scatter(*student, 2); }

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, tensor] : tensors) out.emplace_back(name, tensor.detach().clone());
  return out;
}

TEST(SelfTeacher, IsTheStudentOfThisMoment) {
  Student student = toy_student({});
  const auto teacher = twin(of_kind(TeacherKind::kSelf), student);
  EXPECT_TRUE(seen(*teacher).equal(student->vit->encode(toy_images())));
  move(student);
  EXPECT_TRUE(seen(*teacher).equal(student->vit->encode(toy_images())));
  EXPECT_TRUE(teacher->state().empty()) << "nothing to resume";
}

TEST(RandomTeacher, IsAnotherNetworkThatNeverMoves) {
  Student student = toy_student({});
  const auto teacher = twin(of_kind(TeacherKind::kRandom), student);
  const at::Tensor before = seen(*teacher);
  EXPECT_FALSE(before.equal(student->vit->encode(toy_images())));
  move(student);
  teacher->before_update({});
  teacher->after_step({});
  EXPECT_TRUE(seen(*teacher).equal(before));
  EXPECT_TRUE(seen(*twin(of_kind(TeacherKind::kRandom), student)).equal(before)) << "named by the seed, so not saved";
  teacher->begin(6);
  EXPECT_FALSE(seen(*teacher).equal(before));
  EXPECT_TRUE(teacher->state().empty());
}

// 0.9 old + 0.1 new, for every parameter.
void expect_moved(const NamedTensors& before, const Student& student, const NamedTensors& after) {
  const NamedTensors fresh = named_tensors(*student->vit, "vit.");
  ASSERT_EQ(after.size(), fresh.size());
  for (const auto& [name, tensor] : after)
    EXPECT_LT(deviation(tensor, 0.9 * *find(before, name) + 0.1 * *find(fresh, name)), 1e-15) << name;
}

TEST(MomentumTeacher, FollowsOnceTheWeightsHaveMoved) {
  Student student = toy_student({});
  const auto teacher = twin(of_kind(TeacherKind::kMomentum), student);
  EXPECT_TRUE(seen(*teacher).equal(student->vit->encode(toy_images()))) << "starts as a copy";
  const NamedTensors before = copies(teacher->state());
  move(student);
  teacher->before_update({});
  for (const auto& [name, tensor] : teacher->state()) EXPECT_TRUE(tensor.equal(*find(before, name))) << name;
  teacher->after_step({});
  expect_moved(before, student, teacher->state());
}

TEST(MomentumTeacher, InForwardLagsOneStepBehind) {
  Student student = toy_student({});
  TeacherConfig config = of_kind(TeacherKind::kMomentum);
  config.update = MomentumUpdate::kBeforeUpdate;
  const auto teacher = twin(config, student);
  const NamedTensors before = copies(teacher->state());
  teacher->before_update({});  // of the first step: the student has not moved yet
  move(student);
  teacher->after_step({});
  for (const auto& [name, tensor] : teacher->state()) EXPECT_LT(deviation(tensor, *find(before, name)), 1e-15) << name;
  teacher->before_update({});  // of the second one
  expect_moved(before, student, teacher->state());
}

TEST(MomentumTeacher, TakesTheMomentumOfItsStep) {
  Student student = toy_student({});
  TeacherConfig config = of_kind(TeacherKind::kMomentum);
  config.momentum = {.start = 0.0, .end = 1.0, .shape = RampShape::kLinear};
  const auto teacher = twin(config, student);
  const NamedTensors before = copies(teacher->state());
  move(student);
  const NamedTensors fresh = named_tensors(*student->vit, "vit.");
  teacher->after_step({.step = 5, .total_steps = 10});
  for (const auto& [name, tensor] : teacher->state())
    EXPECT_LT(deviation(tensor, 0.5 * *find(before, name) + 0.5 * *find(fresh, name)), 1e-15) << name;
  teacher->after_step({.step = 0, .total_steps = 10});
  EXPECT_TRUE(seen(*teacher).equal(student->vit->encode(toy_images()))) << "momentum 0 is a copy";
}

TEST(MomentumTeacher, GoesOnFromItsState) {
  Student student = toy_student({});
  const auto first = twin(of_kind(TeacherKind::kMomentum), student);
  move(student);
  first->after_step({});
  const auto second = twin(of_kind(TeacherKind::kMomentum), student);
  EXPECT_FALSE(seen(*second).equal(seen(*first)));
  const NamedTensors saved = copies(first->state());
  for (const auto& [name, tensor] : second->state()) tensor.detach().copy_(*find(saved, name));
  EXPECT_TRUE(seen(*second).equal(seen(*first)));
}

TEST(TwinTeacher, LooksAtTheWholeImageOrAtWhatIsHidden) {
  Student student = toy_student({});
  TeacherConfig config = of_kind(TeacherKind::kSelf);
  EXPECT_EQ(seen(*twin(config, student)).sizes(), at::IntArrayRef({2, 17, 24}));
  config.sees = TeacherSight::kMasked;
  const auto hidden = twin(config, student);
  EXPECT_TRUE(hidden->sees_masked_only());
  EXPECT_TRUE(hidden->observe(toy_images(), toy_plan(), nullptr).of_masked);
  const at::Tensor before = seen(*hidden);
  EXPECT_TRUE(before.equal(student->vit->encode(toy_images(), toy_plan().masked)));
  const auto of = [&](const at::Tensor& images) { return hidden->observe(images, toy_plan(), nullptr).grids[0]; };
  EXPECT_TRUE(of(repainted(toy_images(), toy_plan().visible)).equal(before));
  EXPECT_FALSE(of(repainted(toy_images(), toy_plan().masked)).equal(before));
}

TEST(TwinTeacher, OfHiddenPatchesIsMadeComparableWithARegressorsLatents) {
  Student student =
      toy_student({}, toy_vit(), {.kind = CompleterKind::kRegressor, .depth = 1, .width = 16, .heads = 4});
  TeacherConfig config = of_kind(TeacherKind::kMomentum);
  config.sees = TeacherSight::kMasked;
  const auto teacher = twin(config, student);
  EXPECT_EQ(teacher->width(), 16);
  const at::Tensor latents = student->vit->encode(toy_images(), toy_plan().masked);
  EXPECT_TRUE(seen(*teacher).equal(student->completer->adapt(latents)));

  // A decoder has no such map: the teacher's own width is what is said, and what is given.
  Student decoding = toy_student({}, toy_vit(), {.kind = CompleterKind::kDecoder, .depth = 1, .width = 16, .heads = 4});
  const auto other = twin(config, decoding);
  EXPECT_EQ(other->width(), 24);
  EXPECT_EQ(seen(*other).size(2), 24);
}

TEST(TwinTeacher, GivesTheBlocksAskedFor) {
  Student student = toy_student({});
  std::vector<at::Tensor> blocks;
  const at::Tensor last =
      student->vit->run_blocks(toy_images(), {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
        if (block >= 0) blocks.push_back(tokens);
      });
  TeacherConfig config = of_kind(TeacherKind::kSelf);
  config.layer = TeacherLayer::kLastBlock;
  EXPECT_TRUE(seen(*twin(config, student)).equal(last));
  config.top_blocks = 2;
  const Observation top = twin(config, student)->observe(toy_images(), toy_plan(), nullptr);
  ASSERT_EQ(top.grids.size(), 2u);
  EXPECT_TRUE(top.grids[0].equal(blocks[1]));
  EXPECT_TRUE(top.grids[1].equal(blocks[2]));
}

class CountingDrop : public PathDrop {
 public:
  std::vector<double> factors(double, int64_t batch) override {
    ++asked;
    return std::vector<double>(static_cast<size_t>(batch), 1.0);
  }
  int asked = 0;
};

TEST(TwinTeacher, DropsPathsOnlyWhenAsked) {
  VitConfig vit = toy_vit();
  vit.drop_path = 0.3;
  Student student = toy_student({}, vit);
  TeacherConfig config = of_kind(TeacherKind::kSelf);
  CountingDrop drop;
  seen(*twin(config, student), &drop);
  EXPECT_EQ(drop.asked, 0);
  config.drop_path = true;
  seen(*twin(config, student), &drop);
  EXPECT_EQ(drop.asked, 4) << "two blocks with a rate, two branches each";
}

TEST(TwinTeacher, WithPrototypesAveragesTheHeadToo) {
  Student student = toy_student({});
  const HeadConfig config{.kind = HeadKind::kProjection, .hidden = 20, .bottleneck = 6, .prototypes = 12};
  const auto head = build_head(config, {.width = 24, .grid = 4});
  scatter(*head);
  const auto teacher = make_twin_teacher(of_kind(TeacherKind::kMomentum), kSides, student, head, config);
  teacher->begin(0);
  EXPECT_EQ(teacher->width(), 12);
  const at::NoGradGuard no_grad;
  const at::Tensor latents = student->vit->encode(toy_images());
  EXPECT_TRUE(seen(*teacher).equal(head->forward({.tokens = latents, .places = {}}, nullptr)));
  const NamedTensors before = copies(teacher->state());
  scatter(*head, 2);
  teacher->after_step({});
  int heads = 0;
  for (const auto& [name, tensor] : teacher->state()) {
    if (!name.starts_with("head.")) continue;
    ++heads;
    EXPECT_LT(deviation(tensor, 0.9 * *find(before, name) + 0.1 * *find(named_tensors(*head, "head."), name)), 1e-15)
        << name;
  }
  EXPECT_EQ(heads, 7);
}

TEST(TwinTeacher, RefusesWhatTheStudentHasNot) {
  const Student student = toy_student({});
  const auto refusal = [&](const TeacherConfig& config) {
    return refusal_of([&] { make_twin_teacher(config, kSides, student, nullptr, {}); });
  };
  TeacherConfig config = of_kind(TeacherKind::kSelf);
  config.layer = TeacherLayer::kProjected;
  EXPECT_SAYS(refusal(config), "teacher.layer: a twin of the student has no projection; use normed or last_block");
  config = of_kind(TeacherKind::kSelf);
  config.top_blocks = 4;
  EXPECT_SAYS(refusal(config), "teacher.top_blocks: 4, but the student has 3 blocks");
  config = of_kind(TeacherKind::kMomentum);
  config.momentum.start = 1.5;
  EXPECT_SAYS(refusal(config), "teacher.momentum");
}

TEST(TwinTeacher, RefusesHeadsThatItCannotRead) {
  const HeadConfig projection{.kind = HeadKind::kProjection, .hidden = 20, .bottleneck = 6, .prototypes = 12};
  const Student plain = toy_student({});
  const Student decoding =
      toy_student({}, toy_vit(), {.kind = CompleterKind::kDecoder, .depth = 1, .width = 16, .heads = 4});
  const auto refusal = [&](const TeacherConfig& config, const HeadConfig& head, const Student& student) {
    const HeadSizes sizes{.width = student->width(), .out = 6, .grid = 4};
    return refusal_of([&] { make_twin_teacher(config, kSides, student, build_head(head, sizes), head); });
  };
  for (const TeacherKind kind : {TeacherKind::kMomentum, TeacherKind::kSelf}) {
    EXPECT_EQ(refusal(of_kind(kind), projection, plain), "accepted");
    EXPECT_SAYS(refusal(of_kind(kind), projection, decoding), "set completer.width=24");
    EXPECT_SAYS(refusal(of_kind(kind), {.kind = HeadKind::kDecoder, .depth = 1, .heads = 3}, plain),
                "use head.kind=mlp or projection");
    TeacherConfig top = of_kind(kind);
    top.top_blocks = 1;
    EXPECT_SAYS(refusal(top, projection, plain), "teacher.top_blocks: prototypes are read from the last block");
  }
}

// ---- Through a run --------------------------------------------------------------------------------------------------

class Squares : public Source {  // an image of its own for every index
 public:
  std::int64_t size() const override { return 12; }
  std::string name(std::int64_t index) const override { return text("square:", index); }
  Image image(std::int64_t index) const override {
    Image out(40, 40);
    for (size_t i = 0; i < out.pixels.size(); ++i)
      out.pixels[i] = static_cast<std::uint8_t>((7 * i + 31 * static_cast<size_t>(index) * (1 + i % 5)) % 251);
    return out;
  }
  std::int64_t label(std::int64_t) const override { return kNoLabel; }
  std::string caption(std::int64_t, Rng&) const override { return ""; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return 1; }

 private:
  std::vector<std::string> classes_;
};

Composition self_distillation(MomentumUpdate update, HeadKind head) {
  Composition c;
  c.mask = {.kind = MaskKind::kRandom, .ratio = 0.5};
  c.student.mode = StudentMode::kPaint;
  c.student.vit = toy_vit();
  c.student.image_side = 32;
  c.student.patch_side = 8;
  ObjectiveConfig objective{.name = "target"};
  objective.teacher = {.kind = TeacherKind::kMomentum, .momentum = {.start = 0.8}, .update = update};
  DistillConfig& d = objective.distill;
  d.head = {.kind = head, .hidden = 20, .bottleneck = 6, .prototypes = 12};
  const bool prototypes = head == HeadKind::kProjection;
  d.normalize = prototypes ? NormalizeConfig{.kind = NormalizeKind::kCenterSharpen, .temperature = {.start = 0.1}}
                           : NormalizeConfig{.kind = NormalizeKind::kBatchNorm, .running = true};
  d.loss.kind = prototypes ? LossKind::kSoftCrossEntropy : LossKind::kSmoothL1;
  c.objectives = {objective};
  return c;
}

struct Outcome {
  std::string hash;
  NamedTensors extra;
};

// Up to step `steps`, from the newest checkpoint where there is one.
Outcome train(const Composition& composition, const std::filesystem::path& out, int64_t steps) {
  const auto method = build_method(composition, nullptr, 3);
  const Squares source;
  Loader loader(source, method->views(), {}, {.batch_size = 4, .threads = 1}, {});
  std::filesystem::create_directories(out);
  const Plan plan{.total = steps,
                  .steps_per_epoch = loader.steps_per_epoch(),
                  .schedule = {.peak = 0.01, .floor = 0.01, .warmup = 0, .total = 8},
                  .checkpoint_every = 4,
                  .log_every = 1,
                  .health_every = 3};
  std::ostringstream progress;
  Trainer trainer(*method, loader, {.out = out, .plan = plan}, {}, progress);
  if (const auto snapshot = Checkpoints(out / "checkpoints", {}).newest()) trainer.restore(*snapshot);
  EXPECT_EQ(trainer.run(), RunEnd::kDone);
  return {.hash = trainer.weights_hash(), .extra = copies(method->extra_state())};
}

TEST(MomentumTeacher, AResumedRunEndsWithTheSameBits) {
  for (const HeadKind head : {HeadKind::kProjection, HeadKind::kLinear}) {
    for (const MomentumUpdate update : {MomentumUpdate::kAfterStep, MomentumUpdate::kBeforeUpdate}) {
      const TemporaryFolder folder;
      const Composition composition = self_distillation(update, head);
      const Outcome whole = train(composition, folder / "whole", 8);
      train(composition, folder / "broken", 4);
      const Outcome resumed = train(composition, folder / "broken", 8);
      EXPECT_EQ(resumed.hash, whole.hash);
      ASSERT_EQ(resumed.extra.size(), whole.extra.size());
      EXPECT_GT(whole.extra.size(), 10u) << "the teacher's weights and the normalisation's state";
      for (size_t i = 0; i < whole.extra.size(); ++i)
        EXPECT_TRUE(resumed.extra[i].second.equal(whole.extra[i].second)) << whole.extra[i].first;
    }
  }
}

}  // namespace
}  // namespace lacuna
