#include "mim/contrast.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT
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
  const double scale = std::exp(logit_scale);
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

// As CLIP's code reports it.
at::Tensor contrastive_loss(const at::Tensor& image, const at::Tensor& text, const at::Tensor& logit_scale) {
  const ContrastLosses both = contrastive_losses(image, text, logit_scale);
  return (both.image + both.text) / 2;
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

TEST(Contrast, KeepsTheScaleBetweenOneAndItsLargest) {
  const std::vector<std::string> captions = {"a red circle", "a blue square"};
  TextTowerConfig config;
  config.tower.width = 32;
  config.tower.depth = 1;
  config.tower.heads = 2;
  config.tower.context = 12;
  TextStudent text(config, std::make_shared<Tokenizer>(Tokenizer::train(captions, 520)));
  Contrast contrast("contrast", 1.0, {.embed = 16, .max_scale = 100}, text, /*vision_width=*/48);
  const at::Tensor scale = contrast.named_parameters()["logit_scale"];
  EXPECT_NEAR(scale.item<double>(), std::log(1 / 0.07), 1e-6) << "starts as CLIP's";
  const auto after_step_from = [&](double value) {
    const at::NoGradGuard no_grad;
    scale.fill_(value);
    contrast.after_step(StepContext{});
    return scale.exp().item<double>();
  };
  EXPECT_NEAR(after_step_from(9), 100, 1e-3);
  EXPECT_NEAR(after_step_from(std::log(42.0)), 42, 1e-4);
  EXPECT_EQ(after_step_from(-0.5), 1);
}

// What another process would see: its own rows, and those of both.
class OneOfTwo : public Ranks {
 public:
  OneOfTwo(int64_t rank, at::Tensor image, at::Tensor text) : rank_(rank), both_{std::move(image), std::move(text)} {}
  int64_t rank() const override { return rank_; }
  int64_t world() const override { return 2; }
  at::Tensor gather(const at::Tensor& local) const override {
    for (const at::Tensor& whole : both_) {
      const at::Tensor unit = whole / whole.norm(2, {1}, true);
      if (deviation(unit.chunk(2)[static_cast<size_t>(rank_)], local) < 1e-12) return unit;
    }
    ADD_FAILURE() << "rows that no rank has";
    return local;
  }

 private:
  int64_t rank_;
  std::vector<at::Tensor> both_;
};

TEST(ContrastiveLoss, OverRanksIsThatOfTheWholeBatch) {
  const at::Tensor scale = at::scalar_tensor(2.0, at::kDouble);
  const auto gradients = [](const at::Tensor& loss, std::vector<at::Tensor> of) {
    for (at::Tensor& each : of) each.mutable_grad().reset();
    loss.backward();
    return std::pair{of[0].grad().clone(), of[1].grad().clone()};
  };
  const at::Tensor image = noise(6, 4).requires_grad_(true), text = noise(6, 5).requires_grad_(true);
  const at::Tensor whole = contrastive_loss(image, text, scale);
  const auto wanted = gradients(whole, {image, text});
  at::Tensor mean = at::zeros({}, at::kDouble);
  for (int64_t rank = 0; rank < 2; ++rank) {
    const ContrastLosses part =
        contrastive_losses(image.chunk(2)[static_cast<size_t>(rank)], text.chunk(2)[static_cast<size_t>(rank)], scale,
                           OneOfTwo(rank, image, text));
    mean = mean + (part.image + part.text) / 4;
  }
  EXPECT_NEAR(mean.item<double>(), whole.item<double>(), 1e-12);
  const auto found = gradients(mean, {image, text});
  EXPECT_LT(deviation(found.first, wanted.first), 1e-12);
  EXPECT_LT(deviation(found.second, wanted.second), 1e-12);
}

TEST(ContrastiveLoss, OfUnrelatedPairsIsTheLogarithmOfTheBatch) {
  const at::Tensor same = at::ones({6, 3}, at::kDouble);
  EXPECT_NEAR(contrastive_loss(same, same, at::scalar_tensor(2.0, at::kDouble)).item<double>(), std::log(6.0), 1e-12);
}

}  // namespace
}  // namespace lacuna
