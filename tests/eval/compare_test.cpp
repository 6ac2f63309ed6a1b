#include "eval/compare.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/source/joined_source.h"
#include "eval/toys.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using testing::ColorSource;
using testing::tiny_backbone;

FrozenVit tiny_model(std::uint64_t seed = 3) {
  const Backbone backbone = tiny_backbone(seed);
  return {.vit = backbone.vit, .family = "toy", .path = "toy", .notes = {}};
}

WeightsComparison compare(const FrozenVit& a, const FrozenVit& b) {
  const NamedTensors left = canonical_tensors(a), right = canonical_tensors(b);
  return compare_tensors(views_of(left), views_of(right));
}

TEST(CompareTensors, SortsEveryTensorIntoOneBin) {
  const NamedTensors a = {{"same", at::ones({3})},
                          {"near", at::ones({2})},
                          {"far", at::ones({2})},
                          {"shape", at::ones(4)},
                          {"gone", at::zeros({1})}};
  const NamedTensors b = {{"far", at::ones({2}) * 3},
                          {"same", at::ones({3})},
                          {"near", at::ones({2}) * 1.5},
                          {"shape", at::ones({2, 2})},
                          {"new", at::zeros({1})}};
  const WeightsComparison found = compare_tensors(views_of(a), views_of(b));
  EXPECT_EQ(found.identical, 1);
  ASSERT_EQ(found.different.size(), 2u);
  EXPECT_EQ(found.different[0].name, "far");
  EXPECT_EQ(found.different[0].difference.relative, 2);
  EXPECT_EQ(found.different[1].difference.largest, 0.5);
  ASSERT_EQ(found.shapes.size(), 1u);
  EXPECT_EQ(found.shapes[0].b, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(found.only_a, std::vector<std::string>{"gone"});
  EXPECT_EQ(found.only_b, std::vector<std::string>{"new"});
  EXPECT_FALSE(found.within(100));
  const WeightsComparison close = compare_tensors(views_of({a[0], a[1]}), views_of({b[1], b[2]}));
  EXPECT_TRUE(close.within(0.5));
  EXPECT_FALSE(close.within(0.49));
}

TEST(CanonicalTensors, BringBiasesToOneForm) {
  VitConfig config = tiny_backbone().config.vit;
  config.qkv_bias = QkvBias::kQueryValue;
  FrozenVit split{.vit = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3).vit,
                  .family = "toy",
                  .path = "toy",
                  .notes = {}};
  for (auto& [name, tensor] : named_tensors(*split.vit)) {
    if (name.ends_with("q_bias")) tensor.detach().fill_(0.25);
  }
  config.qkv_bias = QkvBias::kAll;
  FrozenVit full{.vit = Vit(config), .family = "toy", .path = "toy", .notes = {}};
  const NamedTensors from = canonical_tensors(split);
  for (auto& [name, tensor] : named_tensors(*full.vit, "vit.")) tensor.detach().copy_(*find(from, name));
  EXPECT_TRUE(compare(split, full).within(0));
  FrozenVit a = split, b = full;
  EXPECT_EQ(compare_features(a, b, ColorSource(2)).largest_relative(), 0);
}

TEST(CompareFeatures, FindWhereTwoNetworksPart) {
  FrozenVit a = tiny_model(), b = tiny_model();
  EXPECT_EQ(compare_features(a, b, ColorSource(3)).largest_relative(), 0);
  b.vit->blocks->ptr<BlockImpl>(1)->mlp->fc2->bias.detach().add_(0.1);
  const FeatureComparison found = compare_features(a, b, ColorSource(3));
  EXPECT_EQ(found.images, 3);
  std::vector<std::string> names;
  for (const LayerComparison& layer : found.layers) names.push_back(layer.layer);
  EXPECT_EQ(names, (std::vector<std::string>{"0", "1", "2", "last"}));
  EXPECT_EQ(found.layers[0].largest, 0);
  EXPECT_EQ(found.layers[1].largest, 0);
  EXPECT_NEAR(found.layers[2].largest, 0.1, 1e-6);
  EXPECT_LT(found.layers[2].mean_cosine, 1);
  EXPECT_GT(found.layers[3].class_cosine, 0.5);
}

TEST(CompareFeatures, TakeOnlyTheEndOfNetworksOfOtherDepthsAndGrids) {
  VitConfig config = tiny_backbone().config.vit;
  config.depth = 3;
  config.image_side = 32;
  FrozenVit a = tiny_model();
  FrozenVit b{.vit = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3).vit,
              .family = "toy",
              .path = "toy",
              .notes = {}};
  const FeatureComparison found = compare_features(a, b, ColorSource(2));
  ASSERT_EQ(found.layers.size(), 1u);
  EXPECT_EQ(found.layers[0].layer, "last");
  EXPECT_GT(found.layers[0].largest, 0);
  config.width = 48;
  FrozenVit wide{.vit = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3).vit,
                 .family = "toy",
                 .path = "toy",
                 .notes = {}};
  EXPECT_EQ(compare_features(a, wide, ColorSource(2)).why_not, "the networks have widths 24 and 48");
}

// The same network as timm and as transformers write it. They frame images differently (one cuts, the other squashes):
// the images are square.
TEST(Compare, TwinsOfTwoProgramsAreEqual) {
  LACUNA_NEEDS_SHARED("golden/models/timm");
  for (const auto& [one, other] :
       {std::pair{"vit_plain/timm", "vit_plain/hf_vit"}, std::pair{"beit_shared/timm", "beit_shared/hf_beit"}}) {
    const auto folder = testing::golden_path("models/timm");
    FrozenVit a = open_frozen_vit(folder / one), b = open_frozen_vit(folder / other);
    EXPECT_NE(a.family, b.family);
    const WeightsComparison found = compare(a, b);
    EXPECT_TRUE(found.within(0)) << one;
    EXPECT_GT(found.identical, 20);
    const std::vector<std::string> scenes = {"shapes"};
    EXPECT_EQ(compare_features(a, b, *open_images(scenes, {.path = {}, .class_captions = {}, .size = 2, .side = 32}))
                  .largest_relative(),
              0)
        << one;
  }
}

}  // namespace
}  // namespace lacuna
