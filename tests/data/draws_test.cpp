// Draws: what the reference makes of the reference's numbers, and distributions of our own.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "data/view/augment.h"
#include "data/view/blur.h"
#include "data/view/finish.h"
#include "data/view/jitter.h"
#include "data/view/mix.h"
#include "data/view/rand_augment.h"
#include "data/view/render.h"
#include "data/view/tone.h"
#include "io/files.h"
#include "support/golden_image.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using nlohmann::json;
using testing::same_pixels;
using testing::shared_folder;

constexpr int kDraws = 20'000;

Rng stream(std::uint64_t sample) { return Rng(31, Purpose::kTest, 0, sample); }

// How many standard errors the mean of `values` lies from where it should.
double z_score(const std::vector<double>& values, double mean, double deviation) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  const double count = static_cast<double>(values.size());
  return (sum / count - mean) / (deviation / std::sqrt(count));
}

double share_z(int hits, int draws, double probability) {
  return (hits - draws * probability) / std::sqrt(draws * probability * (1 - probability));
}

// ---- Random erasing

TEST(EraseBoxes, AreTheReferencesFromTheReferencesNumbers) {
  LACUNA_NEEDS_SHARED("golden/preprocess/mix.json");
  const json table = read_json(shared_folder() / "golden/preprocess/mix.json");
  int spared = 0, erased = 0;
  for (const json& row : table.at("random_erasing")) {
    const double probability = row.at("probability"), applied = row.at("u_apply");
    if (applied > probability) {
      EXPECT_TRUE(row.at("boxes").empty());
      ++spared;
      continue;
    }
    std::vector<double> numbers;
    std::vector<Box> expected;
    for (const json& box : row.at("boxes")) {
      for (std::size_t t = 0; t < box.at("u_area").size(); ++t) {
        numbers.push_back(box.at("u_area").at(t));
        numbers.push_back(box.at("u_ratio").at(t));
      }
      const json& edges = box.at("box_top_left_h_w");
      if (edges.is_null()) continue;
      numbers.push_back(box.at("u_top"));
      numbers.push_back(box.at("u_left"));
      expected.push_back({edges.at(1), edges.at(0), edges.at(3), edges.at(2)});
    }
    std::size_t used = 0;
    const std::vector<Box> found = erase_boxes(row.at("width"), row.at("height"), row.at("count"), EraseConfig{},
                                               [&] { return numbers.at(used++); });
    EXPECT_EQ(found, expected) << row;
    EXPECT_EQ(used, numbers.size()) << row;
    ++erased;
  }
  EXPECT_GT(spared, 20);
  EXPECT_GT(erased, 100);
}

TEST(DrawErase, ErasesAQuarterOfTheImagesInsideTheirBounds) {
  int hits = 0;
  std::vector<double> areas;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    Rng rng = stream(i);
    const std::vector<Box> boxes = draw_erase(64, 48, EraseConfig{}, rng);
    if (boxes.empty()) continue;
    ++hits;
    const Box& box = boxes.front();
    ASSERT_TRUE(box.left >= 0 && box.top >= 0 && box.left + box.width <= 64 && box.top + box.height <= 48);
    areas.push_back(static_cast<double>(box.width) * box.height / (64.0 * 48.0));
  }
  EXPECT_LT(std::abs(share_z(hits, kDraws, 0.25)), 4.0);
  // Uniform in [0.02, 1/3] but for large flat boxes, which are tried again.
  double mean = 0.0;
  for (const double area : areas) mean += area / static_cast<double>(areas.size());
  EXPECT_GT(mean, 0.15);
  EXPECT_LT(mean, 0.18);
}

// ---- Mixup and CutMix

TEST(CutMix, BoxesAndSharesAreTheReferences) {
  LACUNA_NEEDS_SHARED("golden/preprocess/mix.json");
  const json table = read_json(shared_folder() / "golden/preprocess/mix.json");
  int compared = 0;
  for (const json& row : table.at("cutmix_boxes")) {
    const Mix mix = cut_mix(row.at("width"), row.at("height"), row.at("lam"), row.at("cx"), row.at("cy"));
    const json& edges = row.at("box_yl_yh_xl_xh");
    const int top = edges.at(0), bottom = edges.at(1), left = edges.at(2), right = edges.at(3);
    ASSERT_TRUE(mix.box);
    EXPECT_EQ(*mix.box, (Box{left, top, right - left, bottom - top})) << row;
    EXPECT_NEAR(mix.own, row.at("lam_corrected").get<double>(), 1e-12) << row;
    ++compared;
  }
  EXPECT_EQ(compared, 200);
}

TEST(DrawBeta, HasTheMeanAndSpreadOfBeta) {
  for (const double alpha : {0.2, 0.8, 1.0, 3.0}) {
    std::vector<double> values, squares;
    const double variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      Rng rng = stream(i);
      const double value = draw_beta(alpha, rng);
      ASSERT_GE(value, 0.0);
      ASSERT_LE(value, 1.0);
      values.push_back(value);
      squares.push_back((value - 0.5) * (value - 0.5));
    }
    EXPECT_LT(std::abs(z_score(values, 0.5, std::sqrt(variance))), 4.0) << alpha;
    // The fourth central moment of Beta(alpha, alpha) is 3 variance^2 (2 alpha + 1) / (2 alpha + 3).
    const double fourth = 3.0 * variance * variance * (2.0 * alpha + 1.0) / (2.0 * alpha + 3.0);
    EXPECT_LT(std::abs(z_score(squares, variance, std::sqrt(fourth - variance * variance))), 4.0) << alpha;
  }
}

TEST(DrawMix, SharesDrawsAsItsModeSays) {
  for (const MixMode mode : {MixMode::kBatch, MixMode::kPair, MixMode::kElem}) {
    int equal_all = 0, equal_partners = 0, cuts = 0;
    constexpr int kBatches = 500;
    for (std::uint64_t i = 0; i < kBatches; ++i) {
      Rng rng = stream(i);
      const std::vector<Mix> mixes = draw_mix(6, 32, 32, {.mode = mode}, rng);
      ASSERT_EQ(mixes.size(), 6u);
      equal_all += mixes[0].own == mixes[1].own && mixes[0].own == mixes[5].own ? 1 : 0;
      equal_partners += mixes[0].own == mixes[5].own && mixes[2].own == mixes[3].own ? 1 : 0;
      cuts += mixes[0].box ? 1 : 0;
    }
    EXPECT_LT(std::abs(share_z(cuts, kBatches, 0.5)), 4.0);
    EXPECT_EQ(equal_all == kBatches, mode == MixMode::kBatch);
    EXPECT_EQ(equal_partners == kBatches, mode != MixMode::kElem);
  }
}

TEST(DrawMix, LeavesImagesAloneAsOftenAsItIsTold) {
  int mixed = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Rng rng = stream(i);
    mixed += draw_mix(2, 32, 32, {.cutmix_alpha = 0.0, .probability = 0.3}, rng)[0].own != 1.0 ? 1 : 0;
  }
  EXPECT_LT(std::abs(share_z(mixed, 4000, 0.3)), 4.0);
}

// ---- RandAugment and 3-Augment

TEST(DrawRandAugment, HasTheRecipesRates) {
  std::array<int, kRandOps> seen{};
  int steps = 0, negative = 0, rotations = 0;
  std::vector<double> levels;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    Rng rng = stream(i);
    for (const RandStep& step : draw_rand_augment({}, rng)) {
      ++seen[static_cast<std::size_t>(step.op)];
      ++steps;
      if (step.op != RandOp::kRotate) continue;
      ++rotations;
      negative += step.argument < 0 ? 1 : 0;
      levels.push_back(std::abs(step.argument) / 3.0);
    }
  }
  EXPECT_LT(std::abs(share_z(steps, 2 * kDraws, 0.5)), 4.0);
  for (const int count : seen) EXPECT_LT(std::abs(share_z(count, steps, 1.0 / kRandOps)), 4.5);
  EXPECT_LT(std::abs(share_z(negative, rotations, 0.5)), 4.0);
  // Normal about 9 with deviation 0.5, cut at 10: E[min(L, 10)] = 9 - 0.5 (phi(2) - 2 (1 - Phi(2))).
  EXPECT_LT(std::abs(z_score(levels, 9.0 - 0.5 * (0.0539910 - 2 * 0.0227501), 0.49)), 4.5);
}

TEST(DrawRandAugment, PicksTheKernelWhereItIsLeftOpen) {
  int bilinear = 0, geometric = 0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    Rng rng = stream(i);
    for (const RandStep& step : draw_rand_augment({.kernel = std::nullopt}, rng)) {
      if (step.op != RandOp::kShearX) continue;
      ++geometric;
      bilinear += step.kernel == Kernel::kBilinear ? 1 : 0;
    }
  }
  EXPECT_LT(std::abs(share_z(bilinear, geometric, 0.5)), 4.0);
}

TEST(RandAugment, BlackensAtTheTopOfPosterizeInsteadOfFailing) {
  Image image(2, 1);
  image.pixels = {1, 2, 3, 250, 251, 252};
  EXPECT_EQ(argument_of(RandOp::kPosterize, 10.0, false), 0.0);
  image = rand_augment(std::move(image), {{RandOp::kPosterize, 0.0}}, kImageNetFill);
  for (const std::uint8_t value : image.pixels) EXPECT_EQ(value, 0);
}

TEST(DrawThreeAugment, TakesEachOfTheThreeAsOften) {
  std::array<int, 3> seen{};
  std::vector<double> sigmas;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    Rng rng = stream(i);
    const ThreeAugment draw = draw_three_augment(0.3, rng);
    ++seen[static_cast<std::size_t>(draw.op)];
    sigmas.push_back(draw.sigma);
  }
  for (const int count : seen) EXPECT_LT(std::abs(share_z(count, kDraws, 1.0 / 3.0)), 4.0);
  EXPECT_LT(std::abs(z_score(sigmas, 1.05, 1.9 / std::sqrt(12.0))), 4.0);
}

// ---- What a view gets

TEST(RenderViews, FinishesEachViewAsOftenAsItIsTold) {
  Image image(40, 40);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  const std::array views = {ViewSpec{16, Kernel::kBicubic, kImageNetStats}, ViewSpec{8, Kernel::kBicubic, kClipStats}};
  AugmentConfig plain;
  plain.color_jitter = 0.0;
  for (double AugmentConfig::*probability :
       {&AugmentConfig::grayscale, &AugmentConfig::blur, &AugmentConfig::solarize}) {
    AugmentConfig config = plain;
    config.*probability = 0.3;
    int first = 0, second = 0, both = 0;
    constexpr int kSamples = 600;
    for (std::uint64_t sample = 0; sample < kSamples; ++sample) {
      const auto without = render_views(image, plain, views, 3, 1, sample),
                 with = render_views(image, config, views, 3, 1, sample);
      const bool a = !same_pixels(with[0], without[0]), b = !same_pixels(with[1], without[1]);
      first += a ? 1 : 0, second += b ? 1 : 0, both += a && b ? 1 : 0;
    }
    // A faint blur of a narrow view can be none.
    EXPECT_LT(std::abs(share_z(first, kSamples, 0.3)), 4.5);
    EXPECT_GT(second, kSamples / 5);
    EXPECT_EQ(both, second);
  }
}

TEST(FinishView, BlursANarrowViewByItsShare) {
  Image image(24, 24);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  Image expected = image;
  gaussian_blur(expected, 0.8);
  finish_view(image, {.sigma = 1.6}, 0.5);
  EXPECT_TRUE(same_pixels(image, expected));
}

TEST(FinishView, GoesFromGrayToBlurToSolarize) {
  Image image(24, 24);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  Image expected = image;
  to_grayscale(expected);
  gaussian_blur(expected, 1.2);
  solarize(expected, 128);
  finish_view(image, {.gray = true, .solarized = true, .sigma = 1.2}, 1.0);
  EXPECT_TRUE(same_pixels(image, expected));
}

TEST(JitteredPart, WithHueIsThePartOfTheJitteredWhole) {
  Image image(40, 30);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  const Box box{5, 7, 20, 11};
  for (std::uint64_t i = 0; i < 24; ++i) {
    Rng rng = stream(i);
    const ColorJitter jitter = draw_color_jitter(0.4, 0.2, rng);
    Image whole = image, part;
    color_jitter(whole, jitter);
    jittered_part(image, box, jitter, part);
    ASSERT_EQ(part.width, box.width);
    for (int y = 0; y < box.height; ++y) {
      const std::uint8_t* expected = whole.row(box.top + y) + std::ptrdiff_t{3} * box.left;
      ASSERT_TRUE(std::equal(expected, expected + std::ptrdiff_t{3} * box.width, part.row(y))) << i;
    }
  }
}

TEST(RenderViews, HueIsAPartOfTheJitterAndChangesNothingWhenOff) {
  Rng with = stream(1), without = stream(1);
  const ColorJitter plain = draw_color_jitter(0.4, without), hued = draw_color_jitter(0.4, 0.1, with);
  EXPECT_FALSE(plain.hue);
  ASSERT_TRUE(hued.hue);
  std::map<ColorOp, int> first;
  std::vector<double> shifts;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Rng rng = stream(i);
    const ColorJitter jitter = draw_color_jitter(0.4, 0.1, rng);
    ++first[jitter.order[0]];
    shifts.push_back(*jitter.hue);
  }
  EXPECT_LT(std::abs(share_z(first[ColorOp::kHue], 4000, 0.25)), 4.0);
  EXPECT_LT(std::abs(z_score(shifts, 0.0, 0.2 / std::sqrt(12.0))), 4.0);
}

}  // namespace
}  // namespace lacuna
