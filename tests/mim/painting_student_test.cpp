// A student that sees all patches, mask tokens painted over the hidden ones, and BEiT v2's aggregation on top of it.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/toy_student.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

StudentConfig painting() { return {.mode = StudentMode::kPaint}; }

VitConfig beit_vit() {
  VitConfig c = toy_vit();
  c.positions = Positions::kNone;
  c.relative_bias = RelativeBiasKind::kShared;
  c.layer_scale = 0.1;
  return c;
}

// Patch embeddings with the mask token in place of hidden ones, [B,N,D].
at::Tensor painted_by_hand(StudentImpl& student, const at::Tensor& images, const MaskPlan& plan) {
  at::Tensor patches = student.vit->patches(images).flatten(0, 1);
  const int64_t width = patches.size(1);
  patches.index_fill_(0, plan.masked, 0);
  patches.index_add_(0, plan.masked, student.mask_token[0].expand({plan.masked.numel(), width}));
  return patches.view({plan.batch, plan.patches, width});
}

TEST(PaintingStudent, PixelsOfMaskedPatchesDoNotReachIt) {
  const at::NoGradGuard no_grad;
  for (const VitConfig& vit : {toy_vit(), beit_vit()}) {
    Student student = toy_student(painting(), vit);
    for (const MaskPlan& plan : {toy_plan(3), uneven_plan()}) {
      const at::Tensor images = toy_images(3);
      const at::Tensor before = student(images, plan, true, nullptr).latents;
      EXPECT_TRUE(student(repainted(images, plan.masked), plan, true, nullptr).latents.equal(before));
      EXPECT_FALSE(student(repainted(images, plan.visible), plan, true, nullptr).latents.equal(before));
    }
  }
}

TEST(PaintingStudent, HasALatentForEveryPatchWhetherAskedOrNot) {
  const at::NoGradGuard no_grad;
  Student student = toy_student(painting());
  EXPECT_TRUE(student->predicts_masked());
  for (const bool asked : {true, false}) {
    const Encoded encoded = student(toy_images(), toy_plan(), asked, nullptr);
    EXPECT_EQ(encoded.latents.sizes(), at::IntArrayRef({2, 17, 24}));
    EXPECT_EQ(encoded.tokens.cls.sizes(), at::IntArrayRef({2, 1, 24}));
    EXPECT_EQ(encoded.tokens.visible.sizes(), at::IntArrayRef({2, 9, 24}));
    EXPECT_EQ(encoded.tokens.masked.sizes(), at::IntArrayRef({2, 7, 24}));
    EXPECT_TRUE(merge_tokens(encoded.tokens, toy_plan()).equal(encoded.latents));
    EXPECT_FALSE(encoded.aggregated);
  }
}

TEST(PaintingStudent, IsTheVitWithTheMaskTokenInPlaceOfHiddenPatches) {
  const at::NoGradGuard no_grad;
  Student student = toy_student(painting());
  const at::Tensor images = toy_images(3);
  const at::Tensor last =
      student->vit->run_patches(painted_by_hand(*student, images, uneven_plan()), {}, nullptr, nullptr);
  EXPECT_TRUE(student(images, uneven_plan(), true, nullptr).latents.equal(student->vit->norm(last)));
}

TEST(PaintingStudent, WithoutAMaskIsTheVit) {
  const at::NoGradGuard no_grad;
  Student student = toy_student(painting());
  const MaskPlan nothing = plan_from_masks(filled_masks(2, 16, 0), at::kCPU);
  EXPECT_TRUE(student(toy_images(), nothing, false, nullptr).latents.equal(student->vit->encode(toy_images())));
}

TEST(PaintingStudent, AnImagesLatentsDoNotDependOnItsBatch) {
  const at::NoGradGuard no_grad;
  Student student = toy_student(painting(), beit_vit());
  const at::Tensor images = toy_images(3), together = student(images, uneven_plan(), true, nullptr).latents;
  const std::vector<int64_t> hidden = {0, 3, 9};
  for (int64_t b = 0; b < 3; ++b) {
    const MaskPlan alone = plan_from_masks(filled_masks(1, 16, hidden[static_cast<size_t>(b)]), at::kCPU);
    EXPECT_LT(deviation(student(images.slice(0, b, b + 1), alone, true, nullptr).latents, together.slice(0, b, b + 1)),
              1e-12);
  }
}

StudentConfig aggregating(int64_t layer, int64_t depth) {
  StudentConfig c = painting();
  c.aggregation = {.layer = layer, .depth = depth};
  return c;
}

TEST(Aggregation, SeesTheFinalClassTokenAndEarlyPatches) {
  const at::NoGradGuard no_grad;
  for (const VitConfig& vit : {toy_vit(), beit_vit()}) {
    Student student = toy_student(aggregating(1, 2), vit);
    const Encoded encoded = student(toy_images(), toy_plan(), true, nullptr);
    ASSERT_TRUE(encoded.aggregated);
    at::Tensor early;
    const at::Tensor last = student->vit->run_patches(painted_by_hand(*student, toy_images(), toy_plan()), {}, nullptr,
                                                      [&](int64_t block, const at::Tensor& x) {
                                                        if (block == 0) early = x;
                                                      });
    at::Tensor x = at::cat({last.slice(1, 0, 1), early.slice(1, 1)}, 1);
    ASSERT_EQ(student->aggregation_blocks->size(), 2u);
    for (size_t i = 0; i < 2; ++i)
      x = student->aggregation_blocks->ptr<BlockImpl>(i)->forward(x, 0, nullptr, student->vit->relative_bias(0, 2));
    EXPECT_TRUE(merge_tokens(*encoded.aggregated, toy_plan()).equal(student->vit->norm(x)));
    EXPECT_TRUE(merge_tokens(encoded.tokens, toy_plan()).equal(encoded.latents)) << "the first prediction stays";
  }
}

TEST(Aggregation, TrainsLateBlocksThroughTheClassToken) {
  Student student = toy_student(aggregating(1, 1));
  student(toy_images(), toy_plan(), true, nullptr).aggregated->masked.sum().backward();
  for (const size_t block : {0, 1, 2})
    EXPECT_GT(largest(student->vit->blocks->ptr<BlockImpl>(block)->attn->qkv->weight.grad()), 0) << block;
}

TEST(Aggregation, RefusesWhatItCannotReadFrom) {
  const auto build = [](StudentConfig config, VitConfig vit, CompleterConfig completer = {}) {
    return refusal_of([&] { StudentImpl(config, vit, completer); });
  };
  EXPECT_EQ(build(aggregating(2, 1), toy_vit()), "accepted");
  EXPECT_EQ(build(aggregating(3, 1), toy_vit()), "accepted");
  StudentConfig dropping = aggregating(2, 1);
  dropping.mode = StudentMode::kDrop;
  EXPECT_SAYS(build(dropping, toy_vit()), "set student.mode=paint");
  EXPECT_SAYS(build(aggregating(4, 1), toy_vit()), "student.aggregation.layer: 4, but the student has 3 blocks");
  VitConfig each = beit_vit();
  each.relative_bias = RelativeBiasKind::kPerBlock;
  EXPECT_SAYS(build(aggregating(2, 1), each), "set student.relative_bias=shared or none");
  EXPECT_SAYS(build(aggregating(2, 1), toy_vit(), {.kind = CompleterKind::kDecoder, .depth = 1, .heads = 3}),
              "set completer.kind=none");
}

}  // namespace
}  // namespace lacuna
