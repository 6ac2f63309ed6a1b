// Which parameters are decayed and how fast each layer learns, by the tables of the official scripts.

#include "train/param_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "nn/layers.h"
#include "nn/vit.h"
#include "support/golden.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

using Names = std::set<std::string>;

// The fine-tuning model of BEiT and CAE: a Vit under "vit.", whose final norm stands for their fc_norm, and a head.
struct FineTuned {
  FineTuned(int64_t width, int64_t depth, int64_t heads, int64_t image, int64_t classes, RelativeBiasKind bias) {
    const VitConfig config{.image_side = image,
                           .width = width,
                           .depth = depth,
                           .heads = heads,
                           .hidden = 4 * width,
                           .qkv_bias = QkvBias::kQueryValue,
                           .layer_scale = 0.1,
                           .positions = Positions::kNone,
                           .relative_bias = bias};
    module.register_module("vit", Vit(config));
    module.register_module("head", Linear(width, classes));
  }
  NamedTensors parameters() const { return named_tensors(module); }

  torch::nn::Module module;
};

// Our name for a parameter of such a model.
std::string ours(std::string name) {
  const auto replace = [&name](const std::string& from, const std::string& to) {
    const size_t place = name.find(from);
    if (place != std::string::npos) name.replace(place, from.size(), to);
  };
  if (name.starts_with("head.") || name.starts_with("lm_head.")) return name;
  const std::string table = ".relative_position_bias_table";
  replace("gamma_1", "ls1.gamma");
  replace("gamma_2", "ls2.gamma");
  replace("patch_embed.proj.", "patch_embed.");
  replace("fc_norm.", "norm.");
  replace("rel_pos_bias" + table, "relative_biases.0" + table);
  if (name.ends_with(".attn" + table)) {
    replace("blocks.", "relative_biases.");
    replace(".attn" + table, table);
  }
  return "vit." + name;
}

// The official groups (weight decay, factor of the rate, names in our spelling), and ours.
using Groups = std::map<std::pair<bool, double>, Names>;

Groups groups_of(const AdamW& optimizer) {
  Groups out;
  for (const AdamW::Group& group : optimizer.groups()) {
    const bool is_new =
        out.emplace(std::pair(group.decayed, group.lr_scale), Names(group.names.begin(), group.names.end())).second;
    EXPECT_TRUE(is_new) << "two groups of one kind";
  }
  return out;
}

void expect_official_groups(const FineTuned& model, int64_t depth, double decay, const Json& wanted) {
  const NamedTensors parameters = model.parameters();
  const AdamW optimizer(parameters, {.no_decay = {"pos_embed", "cls_token"}}, layer_decay("vit.", depth, decay));
  const Groups found = groups_of(optimizer);
  ASSERT_EQ(found.size(), wanted.size());
  ASSERT_EQ(found.size(), static_cast<size_t>(2 * (depth + 2)));
  for (const Json& group : wanted) {
    Names names;
    int64_t elements = 0;
    for (const std::string name : group.at("params")) {
      names.insert(ours(name));
      ASSERT_NE(find(parameters, ours(name)), nullptr) << name;
      elements += find(parameters, ours(name))->numel();
    }
    EXPECT_EQ(elements, group.value("elements", elements));
    const double scale = group.at("lr_scale");
    const bool decayed = group.at("weight_decay") > 0.0;
    const auto mine = std::find_if(found.begin(), found.end(), [&](const auto& each) {
      return each.first.first == decayed && std::abs(each.first.second - scale) <= 1e-14 * scale;
    });
    ASSERT_NE(mine, found.end()) << "no group of factor " << scale;
    EXPECT_EQ(mine->second, names);
  }
}

TEST(LayerDecay, EveryStoredFactorAgrees) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/layer_decay.json");
  const Json tables = golden_json("unified/tables/layer_decay.json").at("tables");
  Ledger ledger;
  Names compared;
  for (const int64_t depth : {12, 24, 32}) {
    for (const std::string decay : {"0.55", "0.6", "0.65", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"}) {
      const std::string name = text("depth", depth, "_decay", decay);
      ASSERT_EQ(tables.at(name).size(), static_cast<size_t>(depth + 2)) << name;
      for (int64_t id = 0; id < depth + 2; ++id)
        ledger.expect_relative("factor, relative", text(name, " layer ", id), layer_scale(id, depth, std::stod(decay)),
                               tables.at(name)[static_cast<size_t>(id)], 1e-14);
      compared.insert(name);
    }
  }
  for (const auto& [name, table] : tables.items()) EXPECT_TRUE(compared.contains(name)) << name;
}

TEST(LayerDecay, EveryStoredNameHasItsLayerFactorAndDecay) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/layer_decay.json");
  const Json names = golden_json("unified/tables/layer_decay.json").at("names");
  const FineTuned model(768, 12, 12, 224, 1000, RelativeBiasKind::kPerBlock);
  const NamedTensors parameters = model.parameters();
  const LrScale scale = layer_decay("vit.", 12, 0.65);
  Ledger ledger;
  ASSERT_EQ(names.size(), 39u);
  for (const auto& [name, wanted] : names.items()) {
    const std::string mine = ours(name);
    const at::Tensor* parameter = find(parameters, mine);
    ASSERT_NE(parameter, nullptr) << name;
    if (mine.starts_with("vit.")) {
      EXPECT_EQ(layer_id(mine.substr(4), 12), wanted.at("layer_id")) << name;
    }
    ledger.expect_relative("factor, relative", name, scale(mine), wanted.at("scale"), 1e-14);
    EXPECT_EQ(is_decayed(mine, *parameter, {"pos_embed", "cls_token"}), wanted.at("decayed")) << name;
  }
}

TEST(LayerDecay, GivesTheOfficialNumberOfGroups) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/layer_decay.json");
  const Json groups = golden_json("unified/tables/layer_decay.json").at("groups");
  const Json& finetune = groups.at("finetune_per_block_rpb_depth12");
  const FineTuned model(768, 12, 12, 224, 1000, RelativeBiasKind::kPerBlock);
  const AdamW optimizer(model.parameters(), {.no_decay = {"pos_embed", "cls_token"}}, layer_decay("vit.", 12, 0.65));
  EXPECT_EQ(optimizer.groups().size(), finetune.at("groups"));
  EXPECT_EQ(optimizer.decayed().size(), finetune.at("tensors_decayed"));
  EXPECT_EQ(optimizer.undecayed().size(), finetune.at("tensors_not_decayed"));

  // MAE lists nine tensors, without names; these are nine of such kinds.
  const NamedTensors nine = {{"vit.cls_token", at::zeros({1, 1, 2}).set_requires_grad(true)},
                             {"vit.pos_embed", at::zeros({1, 5, 2}).set_requires_grad(true)},
                             {"vit.patch_embed.bias", at::zeros({2}).set_requires_grad(true)},
                             {"vit.patch_embed.weight", at::zeros({2, 12}).set_requires_grad(true)},
                             {"vit.blocks.0.norm1.weight", at::zeros({2}).set_requires_grad(true)},
                             {"vit.blocks.11.mlp.fc1.weight", at::zeros({8, 2}).set_requires_grad(true)},
                             {"vit.norm.weight", at::zeros({2}).set_requires_grad(true)},
                             {"head.bias", at::zeros({3}).set_requires_grad(true)},
                             {"head.weight", at::zeros({3, 2}).set_requires_grad(true)}};
  const Groups mae = groups_of(AdamW(nine, {.no_decay = {"pos_embed", "cls_token"}}, layer_decay("vit.", 12, 0.65)));
  const Json& wanted = groups.at("mae_finetune_depth12_decay.65");
  ASSERT_EQ(mae.size(), wanted.size());
  for (const Json& group : wanted) {
    const double scale = group.at("lr_scale");
    const auto found = std::find_if(mae.begin(), mae.end(), [&](const auto& each) {
      return each.first.first == (group.at("weight_decay") > 0.0) && std::abs(each.first.second - scale) < 1e-14;
    });
    ASSERT_NE(found, mae.end()) << group;
    EXPECT_EQ(found->second.size(), group.at("tensors")) << group;
  }
  EXPECT_EQ(groups.size(), 3u) << "the third one is the pretraining below";
}

TEST(WeightDecay, ReachesTheOfficialParametersOfBeit) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/layer_decay.json");
  const Json wanted = golden_json("unified/tables/layer_decay.json").at("groups").at("pretrain_shared_rpb_depth12");
  FineTuned model(768, 12, 12, 224, 8192, RelativeBiasKind::kShared);
  NamedTensors parameters = model.parameters();
  parameters.emplace_back("vit.mask_token", at::zeros({1, 1, 768}).set_requires_grad(true));
  const AdamW optimizer(parameters, {.no_decay = {"pos_embed", "cls_token"}});
  EXPECT_EQ(optimizer.groups().size(), 2u);
  Names expected;
  for (const std::string name : wanted.at("decayed_outside_blocks"))
    expected.insert(name == "lm_head.weight" ? "head.weight" : ours(name));
  for (int64_t i = 0; i < 12; ++i) {
    for (const std::string name : wanted.at("decayed_in_a_block")) expected.insert(text("vit.blocks.", i, ".", name));
  }
  const auto decayed = optimizer.decayed();
  EXPECT_EQ(Names(decayed.begin(), decayed.end()), expected);
  EXPECT_EQ(decayed.size(), wanted.at("tensors_decayed"));
  EXPECT_EQ(optimizer.undecayed().size(), wanted.at("tensors_not_decayed"));
}

TEST(LayerDecay, GivesCaesFineTuningGroups) {
  LACUNA_NEEDS_SHARED("golden/cae/param_groups.json");
  const Json wanted = golden_json("cae/param_groups.json").at("finetune_cae_base");
  Ledger ledger;
  ASSERT_EQ(wanted.at("layer_scales").size(), 14u);
  for (int64_t id = 0; id < 14; ++id)
    ledger.expect_relative("factor, relative", text("layer ", id), layer_scale(id, 12, wanted.at("layer_decay")),
                           wanted.at("layer_scales")[static_cast<size_t>(id)], 1e-14);
  expect_official_groups(FineTuned(768, 12, 12, 224, 1000, RelativeBiasKind::kPerBlock), 12, wanted.at("layer_decay"),
                         wanted.at("groups"));
}

TEST(LayerDecay, GivesTheGroupsOfCaesMicroModel) {
  LACUNA_NEEDS_SHARED("golden/cae/finetune_micro.json");
  const Json json = golden_json("cae/finetune_micro.json");
  expect_official_groups(FineTuned(48, 2, 4, 64, 10, RelativeBiasKind::kPerBlock), 2,
                         json.at("hyper").at("layer_decay"), json.at("groups"));
}

// Shapes by the official names; the stored number of elements says whether they are right. (The groups of CAE v2, with
// our own names, are compared in tests/mim/full_size_test.cpp.)
std::vector<int64_t> shape_in_cae_base(const std::string& name) {
  const int64_t d = 768;
  if (name.ends_with("_token")) return {1, 1, d};
  if (name == "encoder.patch_embed.proj.weight") return {d, 3, 16, 16};
  if (name == "decoder.head.weight") return {8192, d};
  if (name == "decoder.head.bias") return {8192};
  if (name.find("norm") != std::string::npos || name.find("gamma") != std::string::npos) return {d};
  if (name.ends_with("qkv.weight")) return {3 * d, d};
  if (name.ends_with("fc1.weight")) return {4 * d, d};
  if (name.ends_with("fc2.weight")) return {d, 4 * d};
  if (name.ends_with("fc1.bias")) return {4 * d};
  return name.ends_with(".weight") ? std::vector<int64_t>{d, d} : std::vector<int64_t>{d};
}

TEST(WeightDecay, ReachesTheOfficialParametersOfCae) {
  LACUNA_NEEDS_SHARED("golden/cae/param_groups.json");
  const Json groups = golden_json("cae/param_groups.json").at("pretrain_cae_base").at("groups");
  ASSERT_EQ(groups.size(), 2u);
  for (const Json& group : groups) {
    int64_t elements = 0;
    for (const std::string name : group.at("params")) {
      const at::Tensor parameter = at::empty(shape_in_cae_base(name));
      elements += parameter.numel();
      EXPECT_EQ(is_decayed(name, parameter), group.at("weight_decay") == 0.05) << name;
      EXPECT_EQ(group.at("lr_scale"), 1.0);
    }
    EXPECT_EQ(elements, group.at("elements"));
    EXPECT_EQ(group.at("params").size(), group.at("tensors"));
  }
}

// SLIP's rule by name picks the same parameters as ours by shape.
TEST(WeightDecay, ReachesTheSameParametersAsSlipsRule) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_step.json");
  const Json step = golden_json("maskclip/micro_step.json");
  const TensorFile weights(golden_path("maskclip/micro_weights.safetensors"));
  ASSERT_EQ(step.at("decayed_parameters").size(), 49u);
  ASSERT_EQ(step.at("not_decayed_parameters").size(), 88u);
  for (const bool decayed : {true, false}) {
    for (const std::string name : step.at(decayed ? "decayed_parameters" : "not_decayed_parameters"))
      EXPECT_EQ(is_decayed(name, to_tensor(weights.at("weight." + name))), decayed) << name;
  }
}

TEST(ParamGroups, TheStoredEntriesAreAllKnown) {
  LACUNA_NEEDS_SHARED("golden/cae/param_groups.json");
  Names entries;
  const Json stored = golden_json("cae/param_groups.json");
  for (const auto& [name, entry] : stored.items()) entries.insert(name);
  EXPECT_EQ(entries, (Names{"reference", "order", "pretrain_cae_base", "pretrain_caev2_tiny", "pretrain_caev2_base",
                            "finetune_cae_base",
                            // Probes: SGD and LARS without weight decay, one factor for all; no groups to form.
                            "attentive_cae_base", "linear_cae_base"}));
}

TEST(LayerId, ReadsNamesOfOurVit) {
  const FineTuned shared(48, 3, 4, 64, 10, RelativeBiasKind::kShared);
  const std::string table = "relative_biases.0.relative_position_bias_table";
  ASSERT_NE(find(shared.parameters(), "vit." + table), nullptr);
  EXPECT_EQ(layer_id(table, 3), 1) << "block 0's own";
  EXPECT_EQ(layer_id(table, 3, BiasTables::kShared), 4) << "everyone's";
  EXPECT_EQ(layer_id("pos_embed", 3), 0);
  EXPECT_EQ(layer_id("mask_token", 3), 0);
  EXPECT_EQ(layer_id("norm_pre.weight", 3), 4) << "as the official rule has it: all else";
  EXPECT_EQ(layer_id("blocks.2.attn.qkv.weight", 3), 3);
  EXPECT_THROW(layer_id("blocks.3.attn.qkv.weight", 3), std::logic_error);
}

TEST(LayerDecay, LeavesEverythingOutsideTheVitAlone) {
  const LrScale scale = layer_decay("student.vit.", 2, 0.5);
  EXPECT_EQ(scale("student.vit.cls_token"), 0.125);
  EXPECT_EQ(scale("student.vit.blocks.1.mlp.fc1.bias"), 0.5);
  EXPECT_EQ(scale("student.vit.norm.weight"), 1);
  EXPECT_EQ(scale("student.decoder.blocks.0.mlp.fc1.bias"), 1);
  EXPECT_EQ(layer_decay("", 2, 0.5)("patch_embed.weight"), 0.125);
}

}  // namespace
}  // namespace lacuna
