#include "mim/contrast.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/golden.h"

namespace lacuna {
namespace {

using Rows = std::vector<std::vector<double>>;

Rows rows_of(const at::Tensor& x) {
  Rows out(static_cast<size_t>(x.size(0)), std::vector<double>(static_cast<size_t>(x.size(1))));
  for (int64_t i = 0; i < x.size(0); ++i) {
    for (int64_t k = 0; k < x.size(1); ++k)
      out[static_cast<size_t>(i)][static_cast<size_t>(k)] = x[i][k].item<double>();
  }
  return out;
}

// Written out from the definition: for image i the softmax over captions, for caption i the softmax over images.
double by_hand(const at::Tensor& image, const at::Tensor& text, double logit_scale) {
  const Rows a = rows_of(image), b = rows_of(text);
  const size_t n = a.size();
  const auto cosine = [&](size_t i, size_t j) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t k = 0; k < a[i].size(); ++k) dot += a[i][k] * b[j][k], aa += a[i][k] * a[i][k], bb += b[j][k] * b[j][k];
    return dot / std::sqrt(aa * bb);
  };
  const double scale = std::min(std::exp(logit_scale), 100.0);
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    double over_captions = 0, over_images = 0;
    for (size_t j = 0; j < n; ++j) {
      over_captions += std::exp(scale * cosine(i, j));
      over_images += std::exp(scale * cosine(j, i));
    }
    total += std::log(over_captions) + std::log(over_images) - 2 * scale * cosine(i, i);
  }
  return total / (2 * static_cast<double>(n));
}

at::Tensor noise(int64_t rows, uint64_t id) {
  Rng rng(3, Purpose::kTest, 0, id);
  at::Tensor out = at::empty({rows, 7}, at::kDouble);
  double* p = out.data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) p[i] = rng.uniform(-1, 1);
  return out;
}

TEST(ContrastiveLoss, IsTheSymmetricCrossEntropy) {
  for (const double scale : {0.0, std::log(1 / 0.07), 4.0}) {
    const at::Tensor image = noise(5, 0), text = noise(5, 1);
    const double found = contrastive_loss(image, text, at::scalar_tensor(scale, at::kDouble)).item<double>();
    EXPECT_NEAR(found, by_hand(image, text, scale), 1e-12) << scale;
    EXPECT_NEAR(contrastive_loss(image.to(at::kFloat), text.to(at::kFloat), at::scalar_tensor(scale, at::kFloat))
                    .item<double>(),
                found, 1e-5);
  }
}

TEST(ContrastiveLoss, HasTheGradientOfItsFormula) {
  constexpr double kStep = 1e-6;
  at::Tensor image = noise(4, 2).requires_grad_(true), text = noise(4, 3).requires_grad_(true);
  at::Tensor scale = at::scalar_tensor(1.7, at::kDouble).requires_grad_(true);
  contrastive_loss(image, text, scale).backward();
  const auto numeric = [&](const at::Tensor& of, int64_t i, const auto& value) {
    at::Tensor flat = of.detach().view({-1});
    const double was = flat[i].item<double>();
    flat[i] = was + kStep;
    const double above = value();
    flat[i] = was - kStep;
    const double below = value();
    flat[i] = was;
    return (above - below) / (2 * kStep);
  };
  const auto value = [&] { return by_hand(image.detach(), text.detach(), scale.item<double>()); };
  for (const at::Tensor& of : {image, text, scale}) {
    const at::Tensor gradient = of.grad().view({-1});
    EXPECT_GT(gradient.abs().max().item<double>(), 1e-3);
    for (int64_t i = 0; i < gradient.numel(); ++i) EXPECT_NEAR(gradient[i].item<double>(), numeric(of, i, value), 1e-8);
  }
}

TEST(ContrastiveLoss, CapsTheScaleAtAHundred) {
  const at::Tensor image = noise(4, 4), text = noise(4, 5);
  const auto at_scale = [&](double s) {
    return contrastive_loss(image, text, at::scalar_tensor(s, at::kDouble)).item<double>();
  };
  EXPECT_EQ(at_scale(9), at_scale(5));
  EXPECT_NE(at_scale(4.6), at_scale(4.5));
}

TEST(ContrastiveLoss, OfUnrelatedPairsIsTheLogarithmOfTheBatch) {
  const at::Tensor same = at::ones({6, 3}, at::kDouble);
  EXPECT_NEAR(contrastive_loss(same, same, at::scalar_tensor(2.0, at::kDouble)).item<double>(), std::log(6.0), 1e-12);
}

}  // namespace
}  // namespace lacuna
