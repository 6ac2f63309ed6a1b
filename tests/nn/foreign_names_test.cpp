// Each family's names, written from a network by its table and read back: what the tables and the measuring of shapes
// say of each other. That the names are those programs' own is shown by the reference networks and the client tests.

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/frozen_vit.h"
#include "nn/weights/vit_names.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

struct Named {
  std::string label, family, prefix;
  VitConfig vit;
  std::string config_name;
  Json config;
  std::vector<std::string> without = {};  // parts of names that this writer does not use
};

void PrintTo(const Named& each, std::ostream* out) { *out << each.label; }

VitConfig base() { return {.image_side = 32, .patch_side = 8, .width = 64, .depth = 2, .heads = 1, .hidden = 80}; }

VitConfig with(const std::function<void(VitConfig&)>& change) {
  VitConfig c = base();
  change(c);
  return c;
}

Json eva_config(const char* architecture) {
  return {{"architecture", architecture}, {"model_args", {{"num_heads", 1}}}, {"pretrained_cfg", Json::object()}};
}

VitConfig eva02(bool inner_norm) {
  return with([&](VitConfig& c) {
    c.activation = Activation::kSwiGlu;
    c.qkv_bias = QkvBias::kQueryValue;
    c.rotary_grid = 16;
    c.mlp_norm = true;
    c.attention_norm = inner_norm;
  });
}

const std::vector<std::string> kFused = {"attn.qkv.",     "mlp.fc1.", "mlp.w",           "attn.q_bias", "attn.v_bias",
                                         "inner_attn_ln", "ffn_ln",   "register_tokens", "gamma_"};

std::vector<Named> all_named() {
  const Json clip_tower = {{"embed_dim", 12}, {"vision_cfg", {{"image_size", 32}, {"timm_model_name", "eva02_x"}}}};
  const Json dino = {{"model_type", "dinov2_with_registers"}, {"num_attention_heads", 1}, {"num_register_tokens", 3}};
  return {
      {"Registers", "ViT or BEiT (timm)", "", with([](VitConfig& c) { c.registers = 4; }), "config.json",
       eva_config("vit_base_patch16_224")},
      {"OfficialRegisters",
       "ViT or BEiT (timm)",
       "",
       with([](VitConfig& c) { c.registers = 4; }),
       "config.json",
       eva_config("vit_base_patch16_224"),
       {"reg_token"}},
      {"Eva02", "ViT or BEiT (timm)", "", eva02(false), "config.json", eva_config("eva02_base_patch14_224"), kFused},
      {"Eva02Clip", "ViT or BEiT (timm)", "", eva02(true), "config.json", eva_config("eva02_base_patch16_clip_224"),
       kFused},
      {"Eva02Official",
       "ViT or BEiT (timm)",
       "",
       eva02(true),
       "config.json",
       eva_config("eva02_base_patch16_clip_224"),
       {"attn.qkv.", "mlp.fc1.", "fc1_g", "mlp.w12", "attn.q_bias", "attn.v_bias", "attn.norm", "mlp.norm", "gamma_"}},
      {"TimmTower",
       "CLIP with a timm tower (OpenCLIP, SLIP)",
       "visual.trunk.",
       eva02(true),
       "open_clip_config.json",
       {{"model_cfg", clip_tower}, {"preprocess_cfg", Json::object()}},
       kFused},
      {"DinoRegisters",
       "DINOv2 (transformers)",
       "dinov2_with_registers.",
       with([](VitConfig& c) { c.registers = 3, c.layer_scale = 1.0; }),
       "config.json",
       dino,
       {"weights_"}},
      {"BareClip",
       "CLIP (transformers)",
       "",
       with([](VitConfig& c) { c.pre_norm = true, c.patch_bias = false, c.activation = Activation::kQuickGelu; }),
       "config.json",
       {{"model_type", "clip_vision_model"}, {"num_attention_heads", 1}}}};
}

// The rules of a family for this network, less the names that the case does not use; the first of several counts.
KeyMap writing_map(const Named& each, const NamedTensors& tensors) {
  const auto family = std::find_if(vit_families().begin(), vit_families().end(),
                                   [&](const Family& row) { return row.name == each.family; });
  KeyMap map = key_map({&*family, each.prefix}, each.vit, tensors);
  std::set<std::string> written;
  std::erase_if(map.rules, [&](const KeyRule& rule) {
    const bool unused = std::any_of(each.without.begin(), each.without.end(), [&](const std::string& part) {
      return rule.theirs[0].find(part) != std::string::npos;
    });
    return unused || !written.insert(rule.ours[0]).second;
  });
  return map;
}

class ForeignNames : public ::testing::TestWithParam<Named> {};

TEST_P(ForeignNames, WrittenByTheTableAreReadBackBitForBit) {
  const at::NoGradGuard no_grad;
  const Named& each = GetParam();
  const TemporaryFolder folder;
  Vit vit(each.vit);
  for (auto& parameter : vit->parameters()) parameter.normal_(0, 0.3);
  const NamedTensors tensors = named_tensors(*vit, "vit.");
  const NamedTensors theirs = export_weights(tensors, writing_map(each, tensors));
  std::vector<at::Tensor> keep;
  write_safetensors(folder / "model.safetensors", to_views(theirs, keep));
  write_json_atomic(folder / each.config_name, each.config);

  FrozenVit read = open_frozen_vit(folder.path());
  EXPECT_EQ(read.family, each.family);
  const NamedTensors found = named_tensors(*read.vit, "vit.");
  ASSERT_EQ(found.size(), tensors.size());
  for (const auto& [name, tensor] : found) {
    const at::Tensor* original = find(tensors, name);
    ASSERT_NE(original, nullptr) << name;
    EXPECT_TRUE(tensor.equal(*original)) << name;
  }
  EXPECT_EQ(read.vit->config().rotary_grid, each.vit.rotary_grid);
  EXPECT_EQ(read.vit->config().registers, each.vit.registers);
}

INSTANTIATE_TEST_SUITE_P(Families, ForeignNames, ::testing::ValuesIn(all_named()),
                         [](const auto& each) { return each.param.label; });

}  // namespace
}  // namespace lacuna
