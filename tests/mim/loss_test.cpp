#include "mim/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "mim/health.h"
#include "mim/normalize.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

at::Tensor rows(std::vector<double> values, int64_t width) {
  return torch::tensor(values, at::kDouble).view({1, -1, width});
}

TEST(Normalize, ShapesEachTokenByItself) {
  const at::Tensor x = rows({3, 4, 0, 5, 5, 5}, 2);
  EXPECT_TRUE(normalize(x, {.kind = NormalizeKind::kKeep}).equal(x));
  EXPECT_LT(
      deviation(normalize(x, {.kind = NormalizeKind::kUnit}), rows({.6, .8, 0, 1, std::sqrt(.5), std::sqrt(.5)}, 2)),
      1e-15);
  const at::Tensor standard = normalize(unit_tensor("x", {2, 3, 50}), {.kind = NormalizeKind::kLayerNorm});
  EXPECT_LT(largest(standard.mean(-1)), 1e-12);
  EXPECT_LT(largest(standard.square().mean(-1) - 1), 1e-5);
}

TEST(Normalize, AZeroTokenStaysFinite) {
  EXPECT_EQ(largest(normalize(at::zeros({1, 2, 4}), {.kind = NormalizeKind::kUnit})), 0);
  const at::Tensor loss = token_loss(at::zeros({1, 2, 4}), at::zeros({1, 2, 4}), LossConfig{});
  EXPECT_TRUE(loss.isfinite().all().item<bool>());
}

TEST(TokenLoss, GivesOneNumberPerToken) {
  const at::Tensor p = rows({1, 0, 0, 2, 3, 4}, 2), t = rows({2, 0, 2, 0, -3, -4}, 2);
  const auto loss = [&](LossKind kind) { return token_loss(p, t, LossConfig{.kind = kind}); };
  EXPECT_LT(deviation(loss(LossKind::kCosine), rows({0, 1, 2}, 3)[0]), 1e-11);
  EXPECT_LT(deviation(loss(LossKind::kL2), rows({.5, 4, 50}, 3)[0]), 1e-14);
  EXPECT_LT(deviation(loss(LossKind::kL1), rows({.5, 2, 7}, 3)[0]), 1e-14);
  EXPECT_LT(deviation(loss(LossKind::kSmoothL1), rows({.25, 1.5, 6.5}, 3)[0]), 1e-14);
  EXPECT_LT(deviation(token_loss(p, t, LossConfig{.kind = LossKind::kSmoothL1, .beta = 4}), rows({.0625, .5, 5}, 3)[0]),
            1e-14);
}

TEST(TokenLoss, IsComputedInFloat32EvenFromHalves) {
  const at::Tensor p = unit_tensor("p", {1, 3, 8}).to(at::kBFloat16), t = unit_tensor("t", {1, 3, 8}).to(at::kBFloat16);
  EXPECT_EQ(token_loss(p, t, LossConfig{}).scalar_type(), at::kFloat);
  EXPECT_EQ(normalize(t, {.kind = NormalizeKind::kUnit}).scalar_type(), at::kFloat);
}

TEST(TokenLoss, RefusesWhatLibTorchWouldBroadcast) {
  EXPECT_THROW(token_loss(at::zeros({2, 3, 4}), at::zeros({2, 1, 4}), LossConfig{}), std::logic_error);
  EXPECT_THROW(token_loss(at::zeros({3, 4}), at::zeros({3, 4}), LossConfig{}), std::logic_error);
}

TEST(Health, TheTrivialPredictorIsTheMeanDirection) {
  const at::Tensor target = unit_tensor("t", {2, 5, 8});
  const at::Tensor constant = normalize(target, {.kind = NormalizeKind::kUnit}).mean({0, 1}).expand_as(target);
  EXPECT_NEAR(trivial_cosine(target).item<double>(), mean_cosine(constant, target).item<double>(), 1e-6);
  EXPECT_NEAR(mean_cosine(target, 3 * target).item<double>(), 1, 1e-6);
  const at::Tensor same = at::ones({2, 5, 8});
  EXPECT_NEAR(trivial_cosine(same).item<double>(), 1, 1e-6);
  EXPECT_NEAR(target_variance(same).item<double>(), 0, 1e-6);
  const at::Tensor opposite = rows({1, 0, -1, 0, 0, 1, 0, -1}, 2);
  EXPECT_NEAR(target_variance(opposite).item<double>(), 1, 1e-6);
}

TEST(Health, EffectiveRankCountsTheDirectionsInUse) {
  for (const int64_t used : {1, 2, 5}) {
    at::Tensor features = at::zeros({1, 2 * used, 8});
    for (int64_t i = 0; i < used; ++i) features[0][2 * i][i] = 1, features[0][2 * i + 1][i] = -1;
    EXPECT_NEAR(effective_rank(features).item<double>(), static_cast<double>(used), 1e-4);
  }
}

}  // namespace
}  // namespace lacuna
