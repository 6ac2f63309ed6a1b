#include "eval/features.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "data/view/augment.h"
#include "eval/toys.h"
#include "train/batch.h"

namespace lacuna {
namespace {

using testing::ColorSource;
using testing::error_of;
using testing::tiny_backbone;

TEST(Features, RowsAreTheEncoderOutputsInTheSourcesOrder) {
  const ColorSource source(11);
  const Backbone backbone = tiny_backbone();
  for (const TokenPool pool : {TokenPool::kClass, TokenPool::kMean}) {
    const Features found = extract_features(backbone, source, {.pool = pool, .batch = 4, .crop_ratio = 0.875});
    ASSERT_EQ(found.values.sizes(), (std::vector<std::int64_t>{11, 24}));
    EXPECT_EQ(found.values.scalar_type(), at::kFloat);
    EXPECT_EQ(found.classes, source.classes());
    const at::NoGradGuard no_grad;
    Vit vit = backbone.vit;
    for (std::int64_t i = 0; i < source.size(); ++i) {
      const Image view = center_view(source.image(i), 16, Kernel::kBicubic, 0.875);
      const at::Tensor tokens = vit->encode(normalize_pixels(view.pixels, 1, {.side = 16}, at::kCPU))[0];
      const at::Tensor expected = pool == TokenPool::kClass ? tokens[0] : tokens.slice(0, 1).mean(0);
      EXPECT_LT(testing::largest_difference(found.values[i], expected), 1e-5) << i;
      EXPECT_EQ(found.labels[i].item<std::int64_t>(), source.label(i));
    }
  }
}

TEST(Features, DoNotDependOnTheNumberOfThreads) {
  const ColorSource source(61, {5, 40});
  const Backbone backbone = tiny_backbone();
  const Features one = extract_features(backbone, source, {.batch = 8, .threads = 1, .max_bad_share = 0.1});
  for (const int threads : {2, 7}) {
    const Features many = extract_features(backbone, source, {.batch = 8, .threads = threads, .max_bad_share = 0.1});
    EXPECT_TRUE(many.values.equal(one.values));
    EXPECT_TRUE(many.labels.equal(one.labels));
  }
}

TEST(Features, UndecodableSamplesAreLeftOutCountedAndNamed) {
  const ColorSource source(40, {7, 21});
  const Backbone backbone = tiny_backbone();
  const Features found = extract_features(backbone, source, {.max_bad_share = 0.05});
  EXPECT_EQ(found.values.size(0), 38);
  EXPECT_EQ(found.left_out, 2);
  ASSERT_EQ(found.bad.size(), 2u);
  EXPECT_EQ(found.bad[0].name, "color:7");
  EXPECT_EQ(found.bad[1].reason, "color:21: is broken");
  const Features whole = extract_features(backbone, ColorSource(40), {});
  EXPECT_LT(testing::largest_difference(found.values[37], whole.values[39]), 1e-5);
  EXPECT_EQ(found.labels[7].item<std::int64_t>(), 8 % 3);
}

TEST(Features, TooManyUndecodableSamplesFailAsBadData) {
  const Backbone backbone = tiny_backbone();
  try {
    extract_features(backbone, ColorSource(100, {3, 4}), {.max_bad_share = 0.01});
    FAIL() << "two of a hundred is more than one percent";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_NE(std::string(error.what()).find("color:3"), std::string::npos) << error.what();
  }
  EXPECT_EQ(extract_features(backbone, ColorSource(100, {3}), {.max_bad_share = 0.01}).left_out, 1);
  EXPECT_NE(error_of([&] { extract_features(backbone, ColorSource(1, {0}), {}); }).find("1 of 1"), std::string::npos);
}

TEST(Features, OtherFailuresOfASourceReachTheCaller) {
  ColorSource source(30);
  source.crash = 13;
  EXPECT_THROW(extract_features(tiny_backbone(), source, {.batch = 4, .threads = 3}), std::runtime_error);
}

TEST(Features, ASubsetIsFixedAscendingAndMixed) {
  const ColorSource source(300);
  const Backbone backbone = tiny_backbone();
  const Features some = extract_features(backbone, source, {.max_samples = 60});
  EXPECT_EQ(some.values.size(0), 60);
  EXPECT_TRUE(some.values.equal(extract_features(backbone, source, {.max_samples = 60}).values));
  for (std::int64_t label = 0; label < 3; ++label) EXPECT_GT(some.labels.eq(label).sum().item<std::int64_t>(), 8);
  const Features all = extract_features(backbone, source, {.max_samples = 1000});
  EXPECT_EQ(all.values.size(0), 300);
  std::int64_t from = 0;  // every row of the subset is found further on in the whole set
  for (std::int64_t i = 0; i < 60; ++i) {
    while (from < 300 && !at::allclose(all.values[from], some.values[i], 0, 1e-5)) ++from;
  }
  EXPECT_LT(from, 300);
}

TEST(Features, ProgressReachesTheEnd) {
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  extract_features(tiny_backbone(), ColorSource(10), {.batch = 4},
                   [&](std::int64_t done, std::int64_t total) { seen.emplace_back(done, total); });
  EXPECT_EQ(seen, (std::vector<std::pair<std::int64_t, std::int64_t>>{{4, 10}, {8, 10}, {10, 10}}));
}

TEST(Features, Bf16StaysCloseAndGivesFloat32) {
  const Backbone backbone = tiny_backbone();
  const Features exact = extract_features(backbone, ColorSource(6), {}),
                 rough = extract_features(backbone, ColorSource(6), {.bf16 = true});
  EXPECT_EQ(rough.values.scalar_type(), at::kFloat);
  const double distance = testing::largest_difference(rough.values, exact.values);
  EXPECT_GT(distance, 0.0);
  EXPECT_LT(distance, 0.1);
}

TEST(Features, DivergedWeightsAreNamed) {
  Backbone backbone = tiny_backbone();
  const at::NoGradGuard no_grad;
  backbone.origin = "runs/7";
  backbone.vit->cls_token.fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_NE(error_of([&] { extract_features(backbone, ColorSource(5), {}); }).find("runs/7: the features of 5 of 5"),
            std::string::npos);
}

TEST(Features, SettingsOutOfRangeAreRefused) {
  const Backbone backbone = tiny_backbone();
  const ColorSource source(5);
  for (const FeatureConfig& config :
       {FeatureConfig{.batch = 0}, FeatureConfig{.threads = 0}, FeatureConfig{.crop_ratio = 0},
        FeatureConfig{.crop_ratio = 1.1}, FeatureConfig{.max_samples = 0}, FeatureConfig{.max_bad_share = 2}}) {
    EXPECT_THROW(extract_features(backbone, source, config), Error);
  }
}

TEST(Classes, DifferencesAreNamed) {
  EXPECT_NO_THROW(check_same_classes({"cat", "dog"}, {"cat", "dog"}));
  EXPECT_EQ(error_of([] {
              check_same_classes({"cat", "dog"}, {"cat", "eel"});
            }),
            "training and validation data must have the same classes, found 2 and 2; only in the training data: 'dog'; "
            "only in the validation data: 'eel'");
  EXPECT_EQ(error_of([] {
              check_same_classes({"a", "b", "c", "d", "e"}, {"a"});
            }),
            "training and validation data must have the same classes, found 5 and 1; only in the training data: 'b', "
            "'c', 'd' and 1 more");
  EXPECT_NE(error_of([] { check_same_classes({"a", "b"}, {"b", "a"}); }).find("another order"), std::string::npos);
  EXPECT_NE(error_of([] { check_same_classes({"a"}, {}); }).find("validation data have none"), std::string::npos);
}

}  // namespace
}  // namespace lacuna
