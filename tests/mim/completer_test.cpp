// Completers: who looks at whom, at which width, and what cannot be built.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mim/decoder.h"
#include "mim/regressor.h"
#include "nn/position.h"
#include "support/toy_student.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kGrid = 4, kWidth = 24;

CompleterConfig of_kind(CompleterKind kind, int64_t width = 16) {
  return {.kind = kind, .depth = 2, .width = width, .heads = 4};
}

std::shared_ptr<Completer> build(const CompleterConfig& config, bool painted = false) {
  auto completer = build_completer(config, kGrid, kWidth, painted);
  scatter(*completer);
  return completer;
}

Tokens encoded(const MaskPlan& plan, bool painted = false) {
  Tokens tokens = split_tokens(unit_tensor("latents", {plan.batch, 17, kWidth}), plan);
  if (!painted) tokens.masked = at::Tensor();
  return tokens;
}

// The latents with one of the visible patches of sample 0, or its class token, changed.
Tokens with_other_visible(Tokens tokens, int64_t place) {
  tokens.visible = tokens.visible.clone();
  tokens.visible[0][place].add_(unit_tensor("other", {kWidth}));
  return tokens;
}
Tokens with_other_class(Tokens tokens) {
  tokens.cls = tokens.cls.clone();
  tokens.cls[0].add_(unit_tensor("other", {kWidth}));
  return tokens;
}

// Which rows [B,R,W] differ, as text: "1" changed, "." not.
std::string changed(const at::Tensor& a, const at::Tensor& b) {
  std::string out;
  const at::Tensor differs = a.ne(b).any(-1);
  for (int64_t i = 0; i < differs.size(0); ++i) {
    for (int64_t r = 0; r < differs.size(1); ++r) out += differs[i][r].item<bool>() ? '1' : '.';
    out += '|';
  }
  return out;
}

class EveryCompleter : public ::testing::TestWithParam<CompleterKind> {};

TEST_P(EveryCompleter, GivesEveryTokenAtItsWidth) {
  const at::NoGradGuard no_grad;
  for (const int64_t width : {kWidth, int64_t{16}}) {
    const auto completer = build(of_kind(GetParam(), width));
    EXPECT_EQ(completer->width(), width);
    const Tokens out = completer->complete(encoded(toy_plan()), toy_plan(), true, nullptr);
    EXPECT_EQ(out.cls.sizes(), at::IntArrayRef({2, 1, width}));
    EXPECT_EQ(out.visible.sizes(), at::IntArrayRef({2, 9, width}));
    EXPECT_EQ(out.masked.sizes(), at::IntArrayRef({2, 7, width}));
  }
}

TEST_P(EveryCompleter, KeepsImagesApartAndTellsPlacesApart) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(GetParam()));
  const Tokens before = completer->complete(encoded(toy_plan()), toy_plan(), true, nullptr);
  const Tokens after = completer->complete(with_other_visible(encoded(toy_plan()), 3), toy_plan(), true, nullptr);
  EXPECT_EQ(changed(before.masked, after.masked), "1111111|.......|") << "all hidden patches look at visible ones";
  for (int64_t r = 1; r < 7; ++r) EXPECT_FALSE(before.masked[0][r].equal(before.masked[0][0]));
}

TEST_P(EveryCompleter, TrainsEverythingItHas) {
  const auto completer = build(of_kind(GetParam()));
  const Tokens out = completer->complete(encoded(toy_plan()), toy_plan(), true, nullptr);
  (out.masked.square().sum() + out.visible.square().sum() + out.cls.square().sum()).backward();
  for (const auto& [name, parameter] : named_tensors(*completer)) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    const bool cancels = name.ends_with("norm_k.bias");  // a constant of every key is lost in the softmax
    EXPECT_TRUE(cancels || largest(parameter.grad()) > 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryCompleter,
                         ::testing::Values(CompleterKind::kRegressor, CompleterKind::kDecoder,
                                           CompleterKind::kPrompting),
                         [](const auto& each) { return name_of(kCompleterKinds, each.param); });

TEST(Decoder, EveryTokenLooksAtEveryOther) {
  const at::NoGradGuard no_grad;
  const auto decoder = build(of_kind(CompleterKind::kDecoder));
  const Tokens before = decoder->complete(encoded(toy_plan()), toy_plan(), true, nullptr);
  for (const Tokens& other : {with_other_visible(encoded(toy_plan()), 0), with_other_class(encoded(toy_plan()))}) {
    const Tokens after = decoder->complete(other, toy_plan(), true, nullptr);
    EXPECT_EQ(changed(before.cls, after.cls), "1|.|");
    EXPECT_EQ(changed(before.visible, after.visible), "111111111|.........|");
    EXPECT_EQ(changed(before.masked, after.masked), "1111111|.......|");
  }
}

TEST(Decoder, StartsFromMaskTokensAndColumnFirstPositions) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(CompleterKind::kDecoder));
  auto& decoder = dynamic_cast<Decoder&>(*completer);
  const Tokens tokens = encoded(toy_plan());
  at::Tensor grid = decoder.mask_token.expand({2, 16, 16}).clone().flatten(0, 1);
  grid.index_copy_(0, toy_plan().visible, decoder.embed(tokens.visible).flatten(0, 1));
  at::Tensor x = at::cat({decoder.embed(tokens.cls), grid.view({2, 16, 16})}, 1) +
                 sin_cos_positions(kGrid, 16, AxisOrder::kColumnFirst);
  for (size_t i = 0; i < 2; ++i) x = decoder.blocks->ptr<BlockImpl>(i)->forward(x);
  const Tokens out = decoder.complete(tokens, toy_plan(), true, nullptr);
  EXPECT_TRUE(merge_tokens(out, toy_plan()).equal(decoder.norm(x)));
}

TEST(Decoder, OverAPaintingEncoderTakesItsMaskedLatents) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(CompleterKind::kDecoder), /*painted=*/true);
  EXPECT_FALSE(dynamic_cast<Decoder&>(*completer).mask_token.defined());
  Tokens tokens = encoded(toy_plan(), /*painted=*/true);
  const Tokens before = completer->complete(tokens, toy_plan(), true, nullptr);
  tokens.masked = tokens.masked.clone();
  tokens.masked[1][4].add_(unit_tensor("other", {kWidth}));
  EXPECT_EQ(changed(before.masked, completer->complete(tokens, toy_plan(), true, nullptr).masked), ".......|1111111|");
}

TEST(Decoder, TakesImagesThatHideDifferentNumbers) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(CompleterKind::kDecoder), /*painted=*/true);
  const at::Tensor full = unit_tensor("latents", {3, 17, kWidth});
  const auto through = [&](const MaskPlan& plan) {
    return merge_tokens(completer->complete(split_tokens(full, plan), plan, true, nullptr), plan);
  };
  EXPECT_TRUE(through(uneven_plan()).equal(through(plan_from_masks(filled_masks(3, 16, 0), at::kCPU))))
      << "the split is bookkeeping, once the encoder has painted";
}

TEST(Decoder, MayLeaveOutItsNorm) {
  CompleterConfig config = of_kind(CompleterKind::kDecoder);
  config.final_norm = false;
  for (const auto& [name, tensor] : named_tensors(*build(config))) EXPECT_FALSE(name.starts_with("norm.")) << name;
}

TEST(PromptingDecoder, LeavesClassAndVisibleLatentsAlone) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(CompleterKind::kPrompting));
  auto& prompting = dynamic_cast<PromptingDecoder&>(*completer);
  const Tokens tokens = encoded(toy_plan());
  const Tokens before = prompting.complete(tokens, toy_plan(), true, nullptr);
  const at::Tensor positions = sin_cos_positions(kGrid, 16, AxisOrder::kColumnFirst).slice(1, 1).expand({2, 16, 16});
  EXPECT_LT(
      deviation(before.visible, prompting.norm(prompting.embed(tokens.visible) + toy_plan().pick_visible(positions))),
      1e-12);
  EXPECT_LT(deviation(before.cls, prompting.norm(prompting.embed(tokens.cls))), 1e-12);
  const Tokens after = prompting.complete(with_other_visible(tokens, 3), toy_plan(), true, nullptr);
  EXPECT_EQ(changed(before.visible, after.visible), "...1.....|.........|");
  EXPECT_EQ(changed(before.cls, after.cls), ".|.|");
  scatter(*prompting.blocks, 2);
  const Tokens trained = prompting.complete(tokens, toy_plan(), true, nullptr);
  EXPECT_TRUE(trained.visible.equal(before.visible));
  EXPECT_TRUE(trained.cls.equal(before.cls));
  EXPECT_FALSE(trained.masked.equal(before.masked));
}

TEST(PromptingDecoder, HiddenPatchesLookAtTheClassTokenAndEachOther) {
  const at::NoGradGuard no_grad;
  const auto completer = build(of_kind(CompleterKind::kPrompting));
  const Tokens before = completer->complete(encoded(toy_plan()), toy_plan(), true, nullptr);
  const Tokens after = completer->complete(with_other_class(encoded(toy_plan())), toy_plan(), true, nullptr);
  EXPECT_EQ(changed(before.masked, after.masked), "1111111|.......|");
  EXPECT_EQ(changed(before.cls, after.cls), "1|.|");
  PromptingBlock block(16, 4, 1e-6);
  scatter(*block);
  const at::Tensor masked = unit_tensor("masked", {1, 5, 16}), fixed = unit_tensor("fixed", {1, 3, 16});
  at::Tensor other = masked.clone();
  other[0][2].add_(unit_tensor("other", {16}));
  EXPECT_EQ(changed(block(masked, fixed, 0, nullptr), block(other, fixed, 0, nullptr)), "11111|");
}

TEST(Regressor, AsksForMaskedLatentsOnlyWhenToldToAndAdaptsOnlyOtherWidths) {
  const at::NoGradGuard no_grad;
  const auto regressor = build(of_kind(CompleterKind::kRegressor));
  EXPECT_FALSE(regressor->complete(encoded(toy_plan()), toy_plan(), false, nullptr).masked.defined());
  EXPECT_TRUE(regressor->adapts());
  EXPECT_FALSE(build(of_kind(CompleterKind::kRegressor, kWidth))->adapts());
  EXPECT_FALSE(build(of_kind(CompleterKind::kDecoder))->adapts());
  const at::Tensor latents = unit_tensor("latents", {2, 3, kWidth});
  EXPECT_EQ(regressor->adapt(latents).size(2), 16);
  EXPECT_TRUE(build(of_kind(CompleterKind::kDecoder))->adapt(latents).equal(latents));
}

TEST(BuildCompleter, GivesNoneWhereNoneIsAskedFor) {
  EXPECT_EQ(build_completer({}, kGrid, kWidth, false), nullptr);
  EXPECT_EQ(build_completer({}, kGrid, kWidth, true), nullptr);
}

struct Refused {
  std::string name;
  CompleterConfig config;
  bool painted;
  std::string says;
};

class CompleterRefusals : public ::testing::TestWithParam<Refused> {};

TEST_P(CompleterRefusals, NameTheKeyAndWhatWouldFit) {
  const Refused& r = GetParam();
  EXPECT_SAYS(refusal_of([&] { build_completer(r.config, kGrid, kWidth, r.painted); }), r.says);
}

CompleterConfig scaled_prompting() {
  CompleterConfig c = of_kind(CompleterKind::kPrompting);
  c.layer_scale = 0.1;
  return c;
}
CompleterConfig of_heads(int64_t width, int64_t heads) {
  CompleterConfig c = of_kind(CompleterKind::kDecoder, width);
  c.heads = heads;
  return c;
}

INSTANTIATE_TEST_SUITE_P(
    All, CompleterRefusals,
    ::testing::Values(
        Refused{"regressor_over_paint", of_kind(CompleterKind::kRegressor), true,
                "Set completer.kind=none, or student.mode=drop"},
        Refused{"prompting_over_paint", of_kind(CompleterKind::kPrompting), true, "only none and decoder fit it"},
        Refused{"heads", of_heads(16, 3), false,
                "completer: width 16 is not divisible into 3 heads; set completer.heads or completer.width"},
        Refused{"positions", of_heads(18, 3), false,
                "completer: its fixed positions need a width divisible by 4, found 18"},
        Refused{"layer_scale", scaled_prompting(), false,
                "completer.layer_scale: a prompting decoder has none; leave it auto"}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace lacuna
