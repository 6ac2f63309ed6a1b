#include "mim/head.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "nn/block.h"
#include "support/toy_student.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

std::shared_ptr<Head> build(const HeadConfig& config, const HeadSizes& sizes = {.width = 24, .out = 10, .grid = 4}) {
  auto head = build_head(config, sizes);
  scatter(*head);
  return head;
}

RegionTokens tokens(const std::string& name = "tokens") {
  return {.tokens = unit_tensor(name, {2, 5, 24}), .places = at::arange(5).expand({2, 5}) + 1};
}

std::set<std::string> names_of(const torch::nn::Module& module) {
  std::set<std::string> out;
  for (const auto& [name, tensor] : named_tensors(module)) out.insert(name);
  return out;
}

at::Tensor parameter(const Head& head, const std::string& name) { return *find(named_tensors(head), name); }

at::Tensor linear(const Head& head, const std::string& layer, const at::Tensor& x) {
  return at::linear(x, parameter(head, layer + ".weight"), parameter(head, layer + ".bias"));
}

TEST(LinearHead, IsOneMapBehindANormIfAskedFor) {
  const at::NoGradGuard no_grad;
  const auto plain = build({.kind = HeadKind::kLinear, .norm = false});
  EXPECT_EQ(plain->out(), 10);
  EXPECT_TRUE(plain->forward(tokens(), nullptr).equal(linear(*plain, "proj", tokens().tokens)));
  const auto normed = build({.kind = HeadKind::kLinear, .norm = true});
  const at::Tensor x =
      at::layer_norm(tokens().tokens, {24}, parameter(*normed, "norm.weight"), parameter(*normed, "norm.bias"), 1e-6);
  EXPECT_LT(deviation(normed->forward(tokens(), nullptr), linear(*normed, "proj", x)), 1e-12);
}

TEST(MlpHead, HasTwoLayersOfFourTimesTheWidthUnlessToldOtherwise) {
  const at::NoGradGuard no_grad;
  const auto usual = build({.kind = HeadKind::kMlp, .norm = false});
  EXPECT_EQ(parameter(*usual, "mlp.layer0.weight").sizes(), at::IntArrayRef({96, 24}));
  EXPECT_EQ(parameter(*usual, "mlp.layer1.weight").sizes(), at::IntArrayRef({10, 96}));
  EXPECT_EQ(names_of(*usual).size(), 4u);
  const at::Tensor inside = at::gelu(linear(*usual, "mlp.layer0", tokens().tokens));
  EXPECT_LT(deviation(usual->forward(tokens(), nullptr), linear(*usual, "mlp.layer1", inside)), 1e-12);
  const auto deep = build({.kind = HeadKind::kMlp, .norm = false, .depth = 4, .hidden = 7});
  EXPECT_EQ(parameter(*deep, "mlp.layer2.weight").sizes(), at::IntArrayRef({7, 7}));
  EXPECT_EQ(parameter(*deep, "mlp.layer3.weight").sizes(), at::IntArrayRef({10, 7}));
}

TEST(DecoderHead, AttendsWithinTheRegionAndKnowsPlaces) {
  const at::NoGradGuard no_grad;
  const auto head = build({.kind = HeadKind::kDecoder, .depth = 2, .heads = 3});
  const at::Tensor before = head->forward(tokens(), nullptr);
  EXPECT_EQ(before.sizes(), at::IntArrayRef({2, 5, 10}));
  RegionTokens other = tokens();
  other.tokens = other.tokens.clone();
  other.tokens[0][2].add_(unit_tensor("other", {24}));
  const at::Tensor differs = head->forward(other, nullptr).ne(before).any(-1);
  EXPECT_TRUE(differs[0].all().item<bool>());
  EXPECT_FALSE(differs[1].any().item<bool>()) << "another image";
  RegionTokens moved = tokens();
  moved.places = moved.places + 1;
  EXPECT_FALSE(head->forward(moved, nullptr).equal(before));
  EXPECT_EQ(build({.kind = HeadKind::kDecoder, .heads = 3})->named_children()["blocks"]->children().size(), 4u);
}

TEST(ProjectionHead, GivesCosinesWithItsPrototypes) {
  const at::NoGradGuard no_grad;
  const HeadConfig config{.kind = HeadKind::kProjection, .hidden = 20, .bottleneck = 6, .prototypes = 12};
  const auto head = build(config, {.width = 24, .out = 999, .grid = 4});
  EXPECT_EQ(head->out(), 12) << "it chooses its own width";
  EXPECT_EQ(head->prototype_layer(), "weight_") << "directions, and lengths where they are trained";
  EXPECT_EQ(parameter(*head, "mlp.layer2.weight").sizes(), at::IntArrayRef({6, 20}));
  EXPECT_EQ(names_of(*head).size(), 7u) << "three layers and the directions; the lengths are not trained";
  const at::Tensor before = head->forward(tokens(), nullptr);
  at::Tensor code = at::gelu(linear(*head, "mlp.layer0", tokens().tokens));
  code = linear(*head, "mlp.layer2", at::gelu(linear(*head, "mlp.layer1", code)));
  const at::Tensor directions = parameter(*head, "weight_v").view({1, 1, 12, 6}).expand({2, 5, 12, 6});
  EXPECT_LT(deviation(before, at::cosine_similarity(code.unsqueeze(2).expand({2, 5, 12, 6}), directions, -1)), 1e-12);
  parameter(*head, "weight_v").mul_(3.0);
  EXPECT_LT(deviation(head->forward(tokens(), nullptr), before), 1e-12);
}

TEST(ProjectionHead, TrainsLengthsOnlyWhenAsked) {
  HeadConfig config{.kind = HeadKind::kProjection, .hidden = 20, .bottleneck = 6, .prototypes = 12};
  EXPECT_FALSE(names_of(*build(config)).contains("weight_g"));
  config.train_gain = true;
  EXPECT_TRUE(names_of(*build(config)).contains("weight_g"));
}

TEST(DictionaryHead, GivesCosinesWithTheCodebookOverTheTemperature) {
  const at::NoGradGuard no_grad;
  at::Tensor codebook = unit_tensor("codebook", {11, 8});
  codebook = codebook / codebook.norm(2, {1}, true);
  const HeadSizes sizes{.width = 24, .out = 11, .grid = 4, .codebook = codebook};
  const auto head = build({.kind = HeadKind::kDictionary, .norm = false, .temperature = 0.5}, sizes);
  EXPECT_EQ(head->out(), 11);
  EXPECT_EQ(names_of(*head), (std::set<std::string>{"proj.weight", "proj.bias"})) << "the codebook is not trained";
  const at::Tensor code = linear(*head, "proj", tokens().tokens).unsqueeze(2).expand({2, 5, 11, 8});
  const at::Tensor cosines = at::cosine_similarity(code, codebook.view({1, 1, 11, 8}).expand({2, 5, 11, 8}), -1);
  EXPECT_LT(deviation(head->forward(tokens(), nullptr), cosines / 0.5), 1e-12);
}

TEST(IdentityHead, HandsOnTheTokens) {
  const auto head = build_head({.kind = HeadKind::kIdentity}, {.width = 24, .out = 24, .grid = 4});
  EXPECT_TRUE(head->forward(tokens(), nullptr).equal(tokens().tokens));
  EXPECT_TRUE(names_of(*head).empty());
}

TEST(BuildHead, RefusesWhatDoesNotFit) {
  const auto refusal = [](const HeadConfig& config) {
    return refusal_of([&] { build_head(config, {.width = 24, .out = 10, .grid = 4}); });
  };
  EXPECT_SAYS(refusal({.kind = HeadKind::kIdentity}),
              "identity hands on tokens of width 24, but the target has width 10; use head.kind=linear");
  EXPECT_SAYS(refusal({.kind = HeadKind::kDecoder, .heads = 5}),
              "width 24 is not divisible into 5 heads; set head.heads");
  EXPECT_SAYS(refusal({.kind = HeadKind::kDictionary}), "use teacher.kind=vqkd, or head.kind=linear");
}

}  // namespace
}  // namespace lacuna
