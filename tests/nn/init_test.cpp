#include "nn/init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "nn/text_tower.h"
#include "nn/vit.h"
#include "nn/weights/weights.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

VitConfig base_width(int64_t depth) {
  VitConfig c;
  c.depth = depth;
  c.qkv_bias = QkvBias::kQueryValue;
  c.layer_scale = 0.1;
  c.positions = Positions::kSinCos;
  return c;
}

using Weights = std::map<std::string, at::Tensor>;

Weights initialized(torch::nn::Module& module, uint64_t seed, InitScheme scheme, const std::string& prefix = "") {
  initialize(module, seed, scheme, prefix);
  Weights out;
  for (const auto& [name, tensor] : named_tensors(module)) out[name] = tensor.detach();
  return out;
}

Weights initialized(const VitConfig& config, uint64_t seed, const std::string& prefix = "") {
  return initialized(*Vit(config), seed, InitScheme::kCae, prefix);
}

// Every kind of part that is treated in its own way: towers, projections, a projection head, and what a method holds.
struct PartsImpl : torch::nn::Module {
  explicit PartsImpl(const VitConfig& config) : vit(register_module("vit", Vit(config))) {
    TextConfig words;
    words.vocabulary = 500;
    words.context = 16;
    words.width = 256;
    words.depth = 3;
    words.heads = 4;
    words.hidden = 1024;
    words.end_id = 499;
    text = register_module("text", TextTower(words));
    register_module("text_projection", Linear(256, 192, false));
    register_module("vision_projection", Linear(config.width, 192, false));
    register_module("lm_head", Linear(config.width, 768));
    mask_token = register_parameter("mask_token", torch::empty({1, 1, config.width}));
    auto head = register_module("head", std::make_shared<torch::nn::Module>());
    head->register_module("mlp", Mlp(config.width, 256, Activation::kGelu).ptr());
    head->register_parameter("weight_v", torch::empty({300, 64}));
    head->register_parameter("weight_g", torch::empty({300, 1}));
    auto table = register_module("bias", std::make_shared<torch::nn::Module>());
    table->register_parameter("relative_position_bias_table", torch::empty({52, 4}));
    table->register_parameter("gain", torch::empty({4}));
    logit_scale = register_parameter("logit_scale", torch::full({}, 2.5));
  }

  Vit vit;
  TextTower text{nullptr};
  at::Tensor mask_token, logit_scale;
};
TORCH_MODULE(Parts);

// CLIP's vision tower in small, with biases for CLIP's rule to draw.
VitConfig narrow(int64_t depth = 2) {
  VitConfig c;
  c.image_side = 64;
  c.depth = depth;
  c.width = 128;
  c.heads = 4;
  c.hidden = 512;
  c.layer_scale = 0.1;
  return c;
}

// Standard deviation within five standard errors (no kind of draw here has heavier tails than a normal).
void expect_spread(const Weights& weights, const std::string& name, double expected) {
  const at::Tensor& w = weights.at(name);
  const auto n = static_cast<double>(w.numel());
  EXPECT_NEAR(w.to(at::kDouble).std().item<double>(), expected, 5 * expected / std::sqrt(2 * n)) << name;
  EXPECT_NEAR(w.to(at::kDouble).mean().item<double>(), 0, 5 * expected / std::sqrt(n)) << name;
}

void expect_uniform(const Weights& weights, const std::string& name, double bound) {
  expect_spread(weights, name, bound / std::sqrt(3.0));
  EXPECT_LE(largest(weights.at(name)), static_cast<float>(bound)) << name;
  EXPECT_GT(largest(weights.at(name)), (1 - 10 / static_cast<double>(weights.at(name).numel())) * bound) << name;
}

void expect_normal(const Weights& weights, const std::string& name, double sigma) {
  expect_spread(weights, name, sigma);
  EXPECT_GT(largest(weights.at(name)), 2 * sigma) << name << ": cut?";
}

double spread(const at::Tensor& x) { return x.to(at::kDouble).std().item<double>(); }

TEST(Initialize, HasTheStatisticsOfTheOfficialCode) {  // cae.md section 1.9, width 768
  const auto weights = initialized(base_width(1), 1);
  const std::pair<const char*, double> bounds[] = {{"attn.qkv", std::sqrt(6.0 / (768 + 2304))},
                                                   {"attn.proj", 0.0625},
                                                   {"mlp.fc1", std::sqrt(6.0 / (768 + 3072))},
                                                   {"mlp.fc2", std::sqrt(6.0 / (768 + 3072))}};
  for (const auto& [layer, bound] : bounds) {
    const at::Tensor w = weights.at(text("blocks.0.", layer, ".weight"));
    EXPECT_LE(largest(w), static_cast<float>(bound)) << layer;
    EXPECT_GT(largest(w), 0.9999 * bound) << layer;
    EXPECT_NEAR(spread(w), bound / std::sqrt(3.0), 5e-3 * bound) << layer;
    EXPECT_LT(std::abs(w.mean().item<double>()), 5e-3 * bound) << layer;
  }
  EXPECT_NEAR(std::sqrt(6.0 / (768 + 2304)), 0.044194, 1e-6);
  for (const char* name : {"patch_embed.weight", "cls_token"}) {
    const at::Tensor w = weights.at(name);
    EXPECT_LE(largest(w), 0.02f) << name;
    EXPECT_NEAR(spread(w), 0.0108, w.numel() > 10000 ? 1e-4 : 1e-3) << name;
  }
  for (const char* name :
       {"blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "blocks.0.attn.proj.bias", "blocks.0.mlp.fc1.bias",
        "blocks.0.mlp.fc2.bias", "patch_embed.bias", "norm.bias", "blocks.0.norm1.bias"})
    EXPECT_EQ(largest(weights.at(name)), 0) << name;
  for (const char* name : {"norm.weight", "blocks.0.norm1.weight", "blocks.0.norm2.weight"})
    EXPECT_TRUE(weights.at(name).eq(1).all().item<bool>()) << name;
  for (const char* name : {"blocks.0.ls1.gamma", "blocks.0.ls2.gamma"})
    EXPECT_TRUE(weights.at(name).eq(0.1f).all().item<bool>()) << name;
}

TEST(Initialize, SetsEveryParameter) {
  VitConfig config = base_width(1);
  config.width = 48;
  config.heads = 4;
  config.hidden = 96;
  config.positions = Positions::kLearned;
  config.pre_norm = true;
  config.qkv_bias = QkvBias::kAll;
  for (const auto& scheme : kInitSchemes) {
    Parts parts(config);
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : named_tensors(*parts)) {
      if (tensor.dim() > 0) tensor.fill_(NAN);
    }
    initialize(*parts, 1, scheme.value);
    for (const auto& [name, tensor] : named_tensors(*parts))
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << scheme.name << " " << name;
    EXPECT_EQ(parts->logit_scale.item<double>(), 2.5) << "scalars stay";
  }
}

TEST(Initialize, TheDefaultNeverChanges) {  // seeds name runs: a value that moves is another run
  VitConfig config;
  config.width = 48;
  config.depth = 1;
  config.heads = 4;
  config.hidden = 96;
  const Weights weights = initialized(config, 1);
  const std::tuple<const char*, double, double> pinned[] = {{"cls_token", 0.00925236382, 0.010813904},
                                                            {"pos_embed", 0.00817951187, -0.00439486839},
                                                            {"patch_embed.weight", 0.0154633401, -0.014294018},
                                                            {"blocks.0.attn.qkv.weight", -0.0963632986, -0.0806395337},
                                                            {"blocks.0.mlp.fc2.weight", 0.192807883, 0.110583723}};
  for (const auto& [name, first, last] : pinned) {
    const at::Tensor flat = weights.at(name).flatten();
    EXPECT_FLOAT_EQ(flat[0].item<float>(), static_cast<float>(first)) << name;
    EXPECT_FLOAT_EQ(flat[-1].item<float>(), static_cast<float>(last)) << name;
  }
}

TEST(Initialize, AWeightDependsOnSeedAndNameOnly) {
  const auto shallow = initialized(base_width(1), 1), deep = initialized(base_width(2), 1);
  for (const auto& [name, tensor] : shallow) EXPECT_TRUE(tensor.equal(deep.at(name))) << name;
  const std::string qkv = "blocks.0.attn.qkv.weight";
  EXPECT_FALSE(initialized(base_width(1), 2).at(qkv).equal(shallow.at(qkv)));
  EXPECT_FALSE(initialized(base_width(1), 1, "other").at(qkv).equal(shallow.at(qkv)));
  EXPECT_FALSE(deep.at("blocks.1.attn.qkv.weight").equal(deep.at(qkv)));
}

TEST(Initialize, CutsTheNormalWhereItIsTold) {
  const at::Tensor x = at::empty({20000}, at::kDouble);
  fill_truncated_normal(x, 1.0, 2.0, 1, "x");
  EXPECT_LE(largest(x), 2.0);
  EXPECT_NEAR(spread(x), 0.8796, 0.015);  // sd of a normal cut at two sigma
  EXPECT_NEAR(x.mean().item<double>(), 0, 0.03);
}

TEST(Initialize, DrawsANormalOfTheGivenSigma) {
  const at::Tensor x = at::empty({20000}, at::kDouble);
  fill_normal(x, 3.0, 1, "x");
  EXPECT_NEAR(spread(x), 3, 0.08);
  EXPECT_NEAR(x.square().square().mean().item<double>() / 81, 3, 0.2);  // kurtosis
}

TEST(Initialize, SomeParametersStartAlikeInEveryScheme) {
  for (const auto& scheme : kInitSchemes) {
    Parts parts(narrow());
    const Weights weights = initialized(*parts, 1, scheme.value);
    for (const char* name : {"vit.norm.bias", "vit.blocks.0.attn.qkv.bias", "vit.blocks.0.attn.proj.bias",
                             "head.mlp.fc1.bias", "head.mlp.fc2.bias", "bias.relative_position_bias_table"})
      EXPECT_EQ(largest(weights.at(name)), 0) << scheme.name << " " << name;
    for (const char* name : {"vit.norm.weight", "head.weight_g", "bias.gain"})
      EXPECT_TRUE(weights.at(name).eq(1).all().item<bool>()) << scheme.name << " " << name;
    EXPECT_TRUE(weights.at("vit.blocks.1.ls2.gamma").eq(0.1f).all().item<bool>()) << scheme.name;
    for (const char* name : {"head.mlp.fc1.weight", "head.mlp.fc2.weight", "head.weight_v"})
      expect_normal(weights, name, 0.02);
  }
}

TEST(Initialize, MaeIsXavierWithNormalTokens) {
  VitConfig config = base_width(1);
  config.positions = Positions::kLearned;
  config.qkv_bias = QkvBias::kAll;
  const Weights weights = initialized(*Parts(config), 1, InitScheme::kMae);
  expect_uniform(weights, "vit.patch_embed.weight", std::sqrt(6.0 / (768 + 768)));
  expect_uniform(weights, "vit.blocks.0.attn.proj.weight", 0.0625);
  expect_uniform(weights, "lm_head.weight", 0.0625);
  for (const char* name : {"vit.cls_token", "vit.pos_embed", "mask_token"}) expect_normal(weights, name, 0.02);
  for (const char* name : {"vit.patch_embed.bias", "vit.blocks.0.mlp.fc1.bias", "lm_head.bias"})
    EXPECT_EQ(largest(weights.at(name)), 0) << name;

  LACUNA_NEEDS_SHARED("golden/unified/tables/init.json");
  const Json stored = golden_json("unified/tables/init.json").at("mae");
  expect_uniform(weights, "vit.blocks.0.attn.qkv.weight", stored.at("qkv_bound_D768"));
  expect_uniform(weights, "vit.patch_embed.weight", stored.at("patch_bound_D768"));
  expect_uniform(weights, "vit.blocks.0.mlp.fc1.weight", stored.at("fc1_bound_D768"));
}

TEST(Initialize, ClipScalesItsTextTowerAndLeavesVisionToTheDefaults) {  // maskclip.md section 2.3
  const Weights weights = initialized(*Parts(narrow()), 1, InitScheme::kClip);
  const double width = 256, depth = 3;
  expect_normal(weights, "text.token_embedding", 0.02);
  expect_normal(weights, "text.pos_embed", 0.01);
  for (const char* block : {"text.blocks.0.", "text.blocks.2."}) {
    const double residual = std::pow(width, -0.5) * std::pow(2 * depth, -0.5);
    expect_normal(weights, text(block, "attn.qkv.weight"), std::pow(width, -0.5));
    expect_normal(weights, text(block, "attn.proj.weight"), residual);
    expect_normal(weights, text(block, "mlp.fc1.weight"), std::pow(2 * width, -0.5));
    expect_normal(weights, text(block, "mlp.fc2.weight"), residual);
    expect_uniform(weights, text(block, "mlp.fc1.bias"), std::pow(256, -0.5));
    expect_uniform(weights, text(block, "mlp.fc2.bias"), std::pow(1024, -0.5));
    EXPECT_EQ(largest(weights.at(text(block, "attn.qkv.bias"))), 0);
    EXPECT_EQ(largest(weights.at(text(block, "attn.proj.bias"))), 0);
  }
  expect_normal(weights, "text_projection.weight", std::pow(256, -0.5));
  expect_normal(weights, "vision_projection.weight", std::pow(128, -0.5));
  expect_normal(weights, "vit.cls_token", std::pow(128, -0.5));
  expect_normal(weights, "vit.pos_embed", std::pow(128, -0.5));
  expect_normal(weights, "mask_token", 0.02);
  expect_uniform(weights, "vit.patch_embed.weight", std::pow(768, -0.5));
  expect_uniform(weights, "vit.patch_embed.bias", std::pow(768, -0.5));
  expect_uniform(weights, "vit.blocks.1.attn.qkv.weight", std::sqrt(6.0 / (128 + 384)));
  expect_uniform(weights, "vit.blocks.1.attn.proj.weight", std::pow(128, -0.5));
  expect_uniform(weights, "vit.blocks.1.mlp.fc1.weight", std::pow(128, -0.5));
  expect_uniform(weights, "vit.blocks.1.mlp.fc2.weight", std::pow(512, -0.5));
  expect_uniform(weights, "vit.blocks.1.mlp.fc2.bias", std::pow(512, -0.5));
}

TEST(Initialize, BeitShrinksTheEndsOfDeeperBranches) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/init.json");
  const Json factors = golden_json("unified/tables/init.json").at("rescale");
  ASSERT_EQ(factors.size(), 32u);
  VitConfig config = narrow(32);
  config.width = 32;
  config.hidden = 64;
  const Weights weights = initialized(*Parts(config), 1, InitScheme::kBeit);
  const auto expect_sigma = [&](const std::string& name, double sigma) {
    at::Tensor expected = at::empty(weights.at(name).sizes());
    fill_truncated_normal(expected, sigma, sigma, 1, name);
    EXPECT_LT(deviation(weights.at(name), expected), 1e-9) << name;
  };
  for (int64_t i = 0; i < 32; ++i) {
    const std::string block = text("vit.blocks.", i, ".");
    const double shrunk = 0.02 * factors.at(text("block_", i + 1)).get<double>();
    expect_sigma(block + "attn.proj.weight", shrunk);
    expect_sigma(block + "mlp.fc2.weight", shrunk);
    expect_sigma(block + "attn.qkv.weight", 0.02);
    expect_sigma(block + "mlp.fc1.weight", 0.02);
  }
  expect_sigma("text.blocks.2.attn.proj.weight", 0.02 / std::sqrt(6.0));
  for (const char* name : {"vit.patch_embed.weight", "vit.pos_embed", "vit.cls_token", "lm_head.weight"})
    expect_sigma(name, 0.02);
}

// The name here of a tensor of BEiT v2's student.
std::string ours(std::string official) {
  const std::pair<std::string, std::string> changes[] = {
      {"patch_embed.proj", "patch_embed"},
      {"gamma_1", "ls1.gamma"},
      {"gamma_2", "ls2.gamma"},
      {"rel_pos_bias.relative_position_bias_table", "relative_biases.0.relative_position_bias_table"}};
  for (const auto& [theirs, mine] : changes) {
    const size_t place = official.find(theirs);
    if (place != std::string::npos) official.replace(place, theirs.size(), mine);
  }
  return official == "mask_token" || official.starts_with("lm_head") ? official : "vit." + official;
}

TEST(InitializeParity, BeitHasTheStatisticsOfTheOfficialCode) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/init.json");
  const Json stored = golden_json("unified/tables/init.json").at("measured").at("pretrain_small_seed0");
  VitConfig config = named_vit("small");
  config.qkv_bias = QkvBias::kQueryValue;
  config.layer_scale = 0.1;
  config.positions = Positions::kNone;
  config.relative_bias = RelativeBiasKind::kShared;
  const Weights weights = initialized(*Parts(config), 0, InitScheme::kBeit);
  int compared = 0;
  for (const auto& [official, facts] : stored.items()) {
    // Built after the official initialisation has run: torch's defaults, which a scheme does not give.
    if (official.starts_with("cls_pt_layers.")) continue;
    ASSERT_TRUE(weights.contains(ours(official))) << official;
    const at::Tensor w = weights.at(ours(official)).to(at::kDouble);
    ASSERT_EQ(w.numel(), facts.at("n").get<int64_t>()) << official;
    const double sd = facts.at("std"), n = static_cast<double>(w.numel()), scale = std::max(sd, 1e-6);
    // Both are samples; a normal cut at one sigma has a kurtosis of 1.94, so its sd has an error of sd sqrt(.235 / n).
    EXPECT_NEAR(w.std().item<double>(), sd, 5 * scale * std::sqrt(2 * 0.235 / n) + 1e-7) << official;
    EXPECT_NEAR(w.mean().item<double>(), facts.at("mean").get<double>(), 5 * scale * std::sqrt(2 / n) + 1e-7)
        << official;
    EXPECT_NEAR(w.min().item<double>(), facts.at("min").get<double>(), 30 * scale / n + 1e-7) << official;
    EXPECT_NEAR(w.max().item<double>(), facts.at("max").get<double>(), 30 * scale / n + 1e-7) << official;
    ++compared;
  }
  EXPECT_EQ(compared, 54);
}

}  // namespace
}  // namespace lacuna
