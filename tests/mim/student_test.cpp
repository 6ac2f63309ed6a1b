// What must hold of a student whatever its weights: who sees which pixels, what touches which latents, what is trained.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "mim/method.h"
#include "nn/init.h"
#include "support/cae_model.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr CaeSizes kSizes{.image = 32, .patch = 8, .target = 48};

struct Fixture {
  explicit Fixture(CaeSizes sizes = kSizes)
      : model(sizes, unit_tensor("clip_target", {sizes.batch, 1 + sizes.patches(), sizes.target})),
        images(2 * unit_tensor("input", {sizes.batch, 3, sizes.image, sizes.image})),
        plan(plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU)) {
    model.module().to(at::kDouble);
    model.fill(filled_parameter);
  }
  // The images with other pixels in the given patches.
  at::Tensor repainted(const at::Tensor& rows) const {
    const int64_t grid = model.sizes.vit().grid(), side = model.sizes.patch;
    at::Tensor chosen = at::zeros({plan.batch * plan.patches}, at::kDouble).index_fill(0, rows, 1.0);
    chosen = chosen.view({plan.batch, 1, grid, 1, grid, 1}).expand({-1, 3, -1, side, -1, side}).reshape(images.sizes());
    return images + 3 * chosen;
  }
  CaeModel model;
  at::Tensor images;
  MaskPlan plan;
};

void expect_same(const Tokens& a, const Tokens& b) {
  EXPECT_TRUE(a.cls.equal(b.cls));
  EXPECT_TRUE(a.visible.equal(b.visible));
  EXPECT_TRUE(a.masked.equal(b.masked));
}

TEST(Student, PixelsOfMaskedPatchesDoNotReachIt) {
  Fixture f;
  const at::NoGradGuard no_grad;
  const Tokens before = f.model.encode(f.images, f.plan);
  expect_same(f.model.encode(f.repainted(f.plan.masked), f.plan), before);
  const Tokens other = f.model.encode(f.repainted(f.plan.visible), f.plan);
  EXPECT_FALSE(other.visible.equal(before.visible));
  EXPECT_FALSE(other.masked.equal(before.masked));
}

std::unique_ptr<Teacher> clip_teacher() {
  return open_file_teacher({.path = golden_path("models/clip_hf/quickgelu")}, {});
}

TEST(Student, PixelsOfMaskedPatchesDoReachTheTeacher) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Fixture f;
  const auto teacher = clip_teacher();
  ASSERT_EQ(teacher->grid(), f.model.sizes.vit().grid());
  ASSERT_EQ(teacher->width(), 48);
  const auto observed = [&](const at::Tensor& images) {
    return split_tokens(teacher->observe(images.to(at::kFloat), f.plan, nullptr).grids.at(0), f.plan);
  };
  const Tokens before = observed(f.images), after = observed(f.repainted(f.plan.masked));
  EXPECT_FALSE(after.cls.equal(before.cls));
  EXPECT_FALSE(after.masked.equal(before.masked));
  EXPECT_FALSE(after.visible.equal(before.visible)) << "every token of the teacher sees the whole image";
  for (const at::Tensor& part : {before.cls, before.visible, before.masked}) EXPECT_FALSE(part.requires_grad());
}

TEST(Student, CompletingLeavesClassAndVisibleLatentsAlone) {
  for (const int64_t width : {48, 24}) {
    CaeSizes sizes = kSizes;
    sizes.regressor_width = width;
    Fixture f(sizes);
    const at::NoGradGuard no_grad;
    const Tokens without = f.model.encode(f.images, f.plan, nullptr, /*with_masked=*/false);
    const Tokens with = f.model.encode(f.images, f.plan);
    EXPECT_FALSE(without.masked.defined());
    EXPECT_TRUE(with.cls.equal(without.cls));
    EXPECT_TRUE(with.visible.equal(without.visible));
  }
}

TEST(Student, MaskedLatentsDoNotLookAtTheClassToken) {
  for (const int64_t width : {48, 24}) {
    CaeSizes sizes = kSizes;
    sizes.regressor_width = width;
    Fixture f(sizes);
    const at::NoGradGuard no_grad;
    VitImpl& vit = *f.model.student->vit;
    Regressor& regressor = f.model.regressor();
    at::Tensor latents = vit.encode(f.images, f.plan.visible);
    const at::Tensor before = regressor.regress(regressor.adapt(latents).slice(1, 1), f.plan, nullptr);
    EXPECT_TRUE(f.model.encode(f.images, f.plan).masked.equal(before));
    latents.slice(1, 0, 1).add_(1.0);
    EXPECT_TRUE(regressor.regress(regressor.adapt(latents).slice(1, 1), f.plan, nullptr).equal(before));
  }
}

TEST(Student, EncodesTheRowsItIsGivenAsIfTheyWereAll) {
  Fixture f;
  const at::NoGradGuard no_grad;
  const at::Tensor all = at::arange(f.plan.batch * f.plan.patches);
  EXPECT_TRUE(f.model.student->vit->encode(f.images, all).equal(f.model.student->vit->encode(f.images)));
}

TEST(Distill, SupervisesOnlyRegionsOfPositiveWeight) {
  Fixture f;
  CaeModel visible(kSizes, unit_tensor("clip_target", {2, 17, 48}), {.cls = 0, .visible = 1, .masked = 0});
  visible.module().to(at::kDouble);
  visible.fill(filled_parameter);
  EXPECT_FALSE(visible.objective().needs().masked);
  const auto [total, terms] = visible.losses(f.images, f.plan);
  ASSERT_EQ(terms.size(), 1u);
  EXPECT_TRUE(terms.contains("visible"));
  total.backward();
  for (const auto& [name, parameter] : visible.parameters()) {
    if (name.starts_with("student.completer.")) {
      EXPECT_FALSE(parameter.grad().defined()) << name;
    }
  }
}

// ---- The whole method ----

const ViewSpec kView{.side = 32, .kernel = Kernel::kBicubic, .stats = kClipStats};

Method micro_method(std::unique_ptr<Teacher> teacher) {
  CaeSizes sizes = kSizes;
  sizes.depth = 1;
  sizes.regressor_width = 24;
  sizes.regressor_depth = 1;
  Student student(StudentConfig{}, sizes.vit(), sizes.completer());
  MaskConfig mask;
  mask.min_block = 2;
  mask.count = 7;
  Method method({.student_view = kView,
                 .masker = Masker(mask, 4),
                 .student = student,
                 .objectives = {cae_v2_objective("target", cae_v2_distill(), std::move(teacher), student)}});
  initialize(method.module(), 1);
  return method;
}

TEST(Method, TrainsExactlyTheseParametersAndNoneOfTheTeachers) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Method method = micro_method(clip_teacher());
  const std::string vit = "student.vit.", block = vit + "blocks.0.", regressor = "student.completer.",
                    cross = regressor + "blocks.0.";
  std::set<std::string> wanted = {vit + "cls_token",       regressor + "mask_token", block + "attn.qkv.weight",
                                  block + "attn.q_bias",   block + "attn.v_bias",    block + "ls1.gamma",
                                  block + "ls2.gamma",     cross + "attn.q_bias",    cross + "attn.v_bias",
                                  cross + "attn.q.weight", cross + "attn.k.weight",  cross + "attn.v.weight",
                                  cross + "ls1.gamma",     cross + "ls2.gamma"};
  for (const std::string& layer :
       {vit + "patch_embed", vit + "norm", block + "norm1", block + "norm2", block + "attn.proj", block + "mlp.fc1",
        block + "mlp.fc2", regressor + "adapter", regressor + "adapter_norm", regressor + "norm", cross + "norm_q",
        cross + "norm_k", cross + "norm_v", cross + "norm2", cross + "attn.proj", cross + "mlp.fc1", cross + "mlp.fc2",
        std::string("objective.target.head.norm"), std::string("objective.target.head.proj")}) {
    wanted.insert(layer + ".weight");
    wanted.insert(layer + ".bias");
  }
  std::set<std::string> found, buffers;
  for (const auto& [name, tensor] : named_tensors(method.module())) {
    EXPECT_TRUE(tensor.requires_grad()) << name;
    found.insert(name);
  }
  EXPECT_EQ(found, wanted);
  for (const auto& item : method.module().named_buffers()) buffers.insert(item.key());
  EXPECT_EQ(buffers, (std::set<std::string>{"student.vit.pos_embed", "student.completer.positions"}));
}

TEST(Method, TheSameStepGivesTheSameBits) {
  CaeSizes sizes = kSizes;
  sizes.depth = 1;
  Method method =
      micro_method(std::make_unique<FixedTeacher>(unit_tensor("clip_target", {2, 17, 48}).to(at::kFloat), sizes.vit()));
  const at::Tensor images = (2 * unit_tensor("input", {2, 3, 32, 32})).to(at::kFloat);
  const Batch batch{.views = {images, images}, .ids = {0, 1}, .labels = {}, .captions = {}, .epoch = 3};
  const auto loss = [&](uint64_t seed) { return method.losses(batch, StepContext{.seed = seed}).total.item<float>(); };
  EXPECT_EQ(loss(1), loss(1));
  EXPECT_NE(loss(1), loss(2)) << "another seed must draw other masks";
}

std::string refusal(const CompleterConfig& completer, const MaskConfig& mask) {
  Student student(StudentConfig{}, kSizes.vit(), completer);
  const auto distill = cae_v2_objective("target", cae_v2_distill(),
                                        std::make_unique<FixedTeacher>(at::zeros({1, 17, 48}), kSizes.vit()), student);
  try {
    Method({.student_view = kView, .masker = Masker(mask, 4), .student = student, .objectives = {distill}});
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Method, RefusesToSuperviseWhatIsNotThere) {
  MaskConfig mask;
  mask.min_block = 4;
  mask.count = 7;
  EXPECT_EQ(refusal(kSizes.completer(), mask), "accepted");
  EXPECT_EQ(refusal(CompleterConfig{}, mask),
            "objective 'target' supervises masked patches, but the student completes none; set "
            "completer.kind=regressor or decoder, student.mode=paint, or the weight of its masked region to 0");
  for (const MaskKind kind : {MaskKind::kNone, MaskKind::kRandom}) {
    mask.kind = kind;
    mask.count = 0;
    EXPECT_TRUE(refusal(kSizes.completer(), mask)
                    .starts_with("objective 'target' supervises masked patches, but the mask hides none"));
  }
}

}  // namespace
}  // namespace lacuna
