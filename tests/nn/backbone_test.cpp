// The exported backbone: what timm reads is what the reference writes, and our own reader gets the same network back.

#include "nn/backbone.h"

#include <gtest/gtest.h>

#include "nn/frozen_vit.h"
#include "nn/init.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using testing::deviation;
using testing::golden_path;

constexpr const char* kCase = "golden/models/timm/cae_encoder";

VitConfig micro() {
  VitConfig c;
  c.image_side = 32;
  c.patch_side = 8;
  c.width = 32;
  c.depth = 2;
  c.heads = 4;
  c.hidden = 128;
  c.layer_scale = 0.1;
  c.qkv_bias = QkvBias::kQueryValue;
  c.positions = Positions::kSinCos;
  return c;
}

// The official encoder's names onto ours.
KeyMap official_names(const VitConfig& c) {
  KeyMap map;
  map.rules = {{{"cls_token"}, {"encoder.cls_token"}},
               {{"pos_embed"}, {"encoder.pos_embed"}},
               {{"patch_embed.weight"}, {"encoder.patch_embed.proj.weight"}, {c.width, 3, c.patch_side, c.patch_side}},
               {{"patch_embed.bias"}, {"encoder.patch_embed.proj.bias"}}};
  map.add("norm", "encoder.norm");
  std::vector<KeyRule> block = {{{"blocks.{i}.ls1.gamma"}, {"encoder.blocks.{i}.gamma_1"}},
                                {{"blocks.{i}.ls2.gamma"}, {"encoder.blocks.{i}.gamma_2"}},
                                {{"blocks.{i}.attn.q_bias"}, {"encoder.blocks.{i}.attn.q_bias"}},
                                {{"blocks.{i}.attn.v_bias"}, {"encoder.blocks.{i}.attn.v_bias"}},
                                {{"blocks.{i}.attn.qkv.weight"}, {"encoder.blocks.{i}.attn.qkv.weight"}}};
  for (const std::string layer : {"norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"}) {
    for (const std::string leaf : {".weight", ".bias"})
      block.push_back({{"blocks.{i}." + layer + leaf}, {"encoder.blocks.{i}." + layer + leaf}});
  }
  map.add_each_block(c.depth, block);
  return map;
}

Vit official_encoder() {
  Vit vit(micro());
  import_weights(TensorFile(golden_path("models/timm/cae_encoder/cae_names.safetensors")), official_names(micro()),
                 named_tensors(*vit, "", /*buffers=*/true));
  vit->eval();
  return vit;
}

TEST(Backbone, TheOfficialEncoderGivesTheOfficialFeatures) {
  LACUNA_NEEDS_SHARED(kCase);
  const at::NoGradGuard no_grad;
  Vit vit = official_encoder();
  vit->to(at::kDouble);
  const TensorFile io(golden_path("models/timm/cae_encoder/io.safetensors"));
  const at::Tensor features = vit->encode(to_tensor(io.at("input.pixel_values")).to(at::kDouble));
  EXPECT_LE(deviation(features, to_tensor(io.at("output.encoder"))), 1e-12);
  EXPECT_LE(deviation(features, to_tensor(io.at("output.forward_features"))), 1e-12);
}

TEST(Backbone, TheExportedFolderHoldsTheTensorsThatTimmsOwnFolderHolds) {
  LACUNA_NEEDS_SHARED(kCase);
  const testing::TemporaryFolder folder;
  EXPECT_EQ(write_backbone(folder.path(), official_encoder(), {.vit = micro()}), "");
  const TensorFile written(folder.path() / "model.safetensors");
  const TensorFile expected(golden_path("models/timm/cae_encoder/timm/model.safetensors"));
  ASSERT_EQ(written.names().size(), expected.names().size());
  for (const std::string& name : expected.names()) {
    ASSERT_TRUE(written.has(name)) << name;
    EXPECT_EQ(written.at(name).shape, expected.at(name).shape) << name;
    EXPECT_EQ(deviation(to_tensor(written.at(name)), to_tensor(expected.at(name))), 0) << name;
  }
  const testing::Json ours = read_json(folder.path() / "config.json");
  const testing::Json theirs = testing::golden_json("models/timm/cae_encoder/timm/config.json");
  for (const auto& [key, value] : theirs["model_args"].items()) EXPECT_EQ(ours["model_args"][key], value) << key;
  for (const auto& [key, value] : theirs["pretrained_cfg"].items())
    EXPECT_EQ(ours["pretrained_cfg"][key], value) << key;
  EXPECT_FALSE(ours["model_args"].contains("num_classes"));
}

TEST(Backbone, AnExportReadBackIsTheSameNetworkBitByBit) {
  const testing::TemporaryFolder folder;
  const at::NoGradGuard no_grad;
  const Backbone original = random_like({.config = {.vit = micro()}, .vit = nullptr, .origin = ""}, 3);
  write_backbone(folder.path(), original.vit, original.config);
  const Backbone read = open_backbone(folder.path());
  const at::Tensor images = at::randn({2, 3, 32, 32});
  Vit a = original.vit, b = read.vit;
  EXPECT_TRUE(a->encode(images).equal(b->encode(images)));
}

// Every layout of positions and biases that a student may have, through the folder that timm opens: our own reader, and
// the reader of timm's folders, which is held to timm's outputs elsewhere, give the same features.
TEST(Backbone, EveryKindOfPositionsSurvivesTheExport) {
  const std::tuple<Positions, RelativeBiasKind, QkvBias> kinds[] = {
      {Positions::kNone, RelativeBiasKind::kShared, QkvBias::kQueryValue},
      {Positions::kLearned, RelativeBiasKind::kPerBlock, QkvBias::kQueryValue},
      {Positions::kSinCosColumns, RelativeBiasKind::kNone, QkvBias::kAll},
      {Positions::kNone, RelativeBiasKind::kPerBlock, QkvBias::kAll}};
  for (const auto& [positions, bias, qkv] : kinds) {
    VitConfig c = micro();
    c.positions = positions;
    c.relative_bias = bias;
    c.qkv_bias = qkv;
    Vit vit(c);
    for (auto& item : vit->named_parameters()) fill_uniform(item.value().detach(), 0.2, 3, item.key());
    const at::Tensor images = at::ones({2, 3, 32, 32}).cumsum(3).sin();
    const at::NoGradGuard no_grad;
    const at::Tensor expected = vit->encode(images);

    const testing::TemporaryFolder folder;
    const std::string reason = write_backbone(folder / "out", vit, {.vit = c});
    EXPECT_EQ(reason, "");
    Backbone again = open_backbone(folder / "out");
    const bool loses_key_bias = bias != RelativeBiasKind::kNone && qkv == QkvBias::kAll;  // softmax cancels it
    if (loses_key_bias) {
      EXPECT_LT(deviation(again.vit->encode(images), expected), 1e-5);
      EXPECT_EQ(again.config.vit.qkv_bias, QkvBias::kQueryValue);
    } else {
      EXPECT_TRUE(again.vit->encode(images).equal(expected));
    }
    std::filesystem::remove(folder / "out/lacuna.json");
    FrozenVit timm = open_frozen_vit(folder / "out");
    EXPECT_LT(deviation(timm.vit->encode(images), expected), 1e-5) << timm.family;
  }
}

TEST(Backbone, ANetworkThatTimmCannotExpressIsSaidToBeOne) {
  const testing::TemporaryFolder folder;
  VitConfig config = micro();
  config.norm_eps = 1e-3;
  const std::string reason = write_backbone(folder.path(), Vit(config), {.vit = config});
  EXPECT_NE(reason.find("epsilon 1e-6"), std::string::npos) << reason;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "config.json"));
  EXPECT_EQ(open_backbone(folder.path()).config.vit.norm_eps, 1e-3);
}

TEST(Backbone, AFolderThatHoldsNoNetworkIsRefusedWithWhatWasLookedFor) {
  const testing::TemporaryFolder folder;
  try {
    open_backbone(folder.path());
    FAIL() << "an empty folder was opened";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("lacuna.json"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lacuna
