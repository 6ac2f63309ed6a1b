#include "nn/init.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "nn/vit.h"
#include "nn/weights.h"
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

std::map<std::string, at::Tensor> initialized(const VitConfig& config, uint64_t seed, const std::string& prefix = "") {
  Vit vit(config);
  initialize(*vit, seed, prefix);
  std::map<std::string, at::Tensor> out;
  for (const auto& [name, tensor] : named_tensors(*vit)) out[name] = tensor.detach();
  return out;
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
  Vit vit(config);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : named_tensors(*vit)) tensor.fill_(NAN);
  initialize(*vit, 1);
  for (const auto& [name, tensor] : named_tensors(*vit)) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
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

}  // namespace
}  // namespace lacuna
