// Frozen networks whose files are broken or lie: each fault is an Error that names it, and nothing else ever happens.

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "base/error.h"
#include "base/rng.h"
#include "nn/clip_towers.h"
#include "nn/dvae.h"
#include "nn/frozen_vit.h"
#include "nn/vqkd.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

// A copy of a golden network that can be spoilt.
class Spoilt {
 public:
  explicit Spoilt(const std::string& folder, const std::string& weights = "model.safetensors")
      : origin_(golden_path("models/" + folder)), weights_(weights) {
    for (const char* name : {"config.json", "preprocessor_config.json", "open_clip_config.json"}) {
      if (fs::exists(origin_ / name)) configs_.emplace_back(name);
    }
    reset();
  }

  void reset() {
    for (const std::string& name : configs_) write_file_atomic(folder_ / name, read_file(origin_ / name, 1 << 20));
    write_file_atomic(folder_ / weights_, bytes());
  }
  // A config's JSON, changed.
  void edit(const std::string& name, const std::function<void(Json&)>& change) {
    Json json = read_json(origin_ / name);
    change(json);
    write_json_atomic(folder_ / name, json);
  }
  // A tensor replaced, added or, undefined, left out.
  void replace(const std::string& name, const at::Tensor& value) {
    const TensorFile original(origin_ / weights_);
    NamedTensors tensors;
    for (const std::string& key : original.names()) {
      if (key != name) tensors.emplace_back(key, to_tensor(original.at(key)));
    }
    if (value.defined()) tensors.emplace_back(name, value);
    std::vector<at::Tensor> keep;
    write_safetensors(folder_ / weights_, to_views(tensors, keep));
  }
  void remove(const std::string& name) { fs::remove(folder_ / name); }
  std::string bytes() const { return read_file(origin_ / weights_, 64 << 20); }
  void write_weights(const std::string& content) { write_file_atomic(folder_ / weights_, content); }

  // What opening says, the folder's path left out.
  std::string fault(const std::function<void(const fs::path&)>& open) const {
    try {
      open(folder_.path());
    } catch (const Error& error) {
      std::string message = error.what();
      const std::string path = folder_.path().string();
      for (size_t at = message.find(path); at != std::string::npos; at = message.find(path))
        message.erase(at, path.size());
      return message;
    }
    return "opened";
  }
  std::string fault() const {
    return fault([](const fs::path& folder) { open_frozen_vit(folder); });
  }

  const std::vector<std::string>& configs() const { return configs_; }
  std::vector<std::string> tensors() const { return TensorFile(origin_ / weights_).names(); }
  at::Tensor tensor(const std::string& name) const { return to_tensor(TensorFile(origin_ / weights_).at(name)); }

 private:
  TemporaryFolder folder_;
  fs::path origin_;
  std::string weights_;
  std::vector<std::string> configs_;
};

void expect_in(const std::string& found, const std::string& part) {
  EXPECT_NE(found.find(part), std::string::npos) << "found: " << found << "\nexpected: " << part;
}

TEST(HostileNetworks, EachFaultOfTimmsTensorsIsNamed) {
  LACUNA_NEEDS_SHARED("golden/models/timm/beit_shared/timm/model.safetensors");
  Spoilt beit("timm/beit_shared/timm");
  EXPECT_EQ(beit.fault(), "opened");
  const std::pair<std::pair<std::string, at::Tensor>, std::string> faults[] = {
      {{"blocks.1.gamma_1", {}}, "not in the file: vit.blocks.1.ls1.gamma (there: "},
      {{"blocks.0.gamma_1", {}}, "have no place in the model: blocks.0.gamma_2"},
      {{"blocks.1.norm2.bias", {}}, "not in the file: vit.blocks.1.norm2.bias"},
      {{"blocks.0.attn.v_bias", {}}, "not in the file: vit.blocks.0.attn.v_bias"},
      {{"extra", at::zeros({2})}, "1 tensors of the file have no place in the model: extra"},
      {{"blocks.2.norm1.weight", at::zeros({32})}, "key 'depth' is 2, but the tensors say 3"},
      {{"blocks.0.ls1.gamma", at::zeros({32})}, "both 'blocks.0.ls1.gamma' and 'blocks.0.gamma_1' would fill"},
      {{"reg_token", at::zeros({1, 4, 32})}, "holds registers and relative position tables"},
      {{"patch_embed.proj.weight", at::zeros({32, 65, 8, 8})}, "the patch embedding has shape [32,65,8,8], expected"},
      {{"patch_embed.proj.weight", at::zeros({32, 192})}, "has shape [32,192], expected 4 dimensions"},
      {{"patch_embed.proj.weight", at::zeros({0, 3, 8, 8})}, "none of them empty"},
      {{"patch_embed.proj.weight", at::zeros({4096, 3, 8, 8})}, "describe a network of"},
      {{"rel_pos_bias.relative_position_bias_table", at::zeros({53, 4})}, "53 rows belongs to no square grid"},
      {{"rel_pos_bias.relative_position_bias_table", at::zeros({(2 * 65 - 1) * (2 * 65 - 1) + 3, 4})},
       "belongs to no square grid of side 1 to 64"},
      {{"rel_pos_bias.relative_position_bias_table", at::zeros({52, 8})},
       "key 'num_heads' is 4, but the tensors say 8"},
      {{"pos_embed", at::zeros({1, 26, 32})}, "the position table is of a grid of side 5"},
      {{"pos_embed", at::zeros({1, 19, 32})}, "a position table of 19 rows belongs to no square grid of patches"},
      {{"pos_embed", at::zeros({1, 17, 1})}, "but the network's width is 32"},
      {{"blocks.0.mlp.fc1.weight", at::zeros({100, 32})}, "is neither plain nor gated"},
      {{"blocks.1.mlp.fc1.weight", at::zeros({100, 32})}, "has shape [100,32], but the model"},
      {{"norm.weight", at::zeros({32}, at::kInt)}, "holds integers"},
      {{"cls_token", at::zeros({1, 1, 16})}, "tensor 'cls_token' has shape [1,1,16]"}};
  for (const auto& [change, message] : faults) {
    beit.replace(change.first, change.second);
    expect_in(beit.fault(), message);
  }
  beit.replace("cls_pt_layers.0.norm1.weight", at::zeros({32}));  // of BEiT v2's pretraining
  EXPECT_EQ(beit.fault(), "opened");
  beit.replace("relative_position_index", at::zeros({2}));
  expect_in(beit.fault(), "have no place in the model: relative_position_index");
  beit.replace("rel_pos_bias.relative_position_index", at::zeros({17, 17}, at::kLong));  // which timm ignores, too
  EXPECT_EQ(beit.fault(), "opened");
}

TEST(HostileNetworks, EachFaultOfTimmsConfigurationIsNamed) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain/timm/config.json");
  Spoilt vit("timm/vit_plain/timm");
  const auto with = [&](const char* key, const Json& value) {
    vit.edit("config.json", [&](Json& json) { json["model_args"][key] = value; });
    return vit.fault();
  };
  expect_in(with("embed_dim", 64), "/config.json: model_args: key 'embed_dim' is 64, but the tensors say 32");
  expect_in(with("depth", 1 << 30), "key 'depth' must be a positive integer up to");
  expect_in(with("num_heads", 5), "width 32 is not divisible into 5 heads");
  expect_in(with("num_heads", 0), "key 'num_heads' must be a positive integer");
  expect_in(with("num_heads", 1e30), "key 'num_heads' must be a positive integer");
  expect_in(with("img_size", 48), "key 'img_size' is 48, which patches of 8 cut into a grid of side 6");
  expect_in(with("img_size", {32, 64}), "must be the side of square images");
  expect_in(with("class_token", false), "key 'class_token' is 0, but the tensors say 1");
  expect_in(with("qk_norm", true), "key 'qk_norm' is true, which is not understood");
  expect_in(with("act_layer", "relu"), "key 'act_layer' is 'relu'; known are");
  expect_in(with("global_pool", "map"), "key 'global_pool' is 'map', but the tensors lack a pooling by attention");
  EXPECT_EQ(with("reg_tokens", 0), "opened");  // switched off
  expect_in(with("use_rot_pos_emb", 3), "key 'use_rot_pos_emb' must be true or false");
  vit.edit("config.json", [](Json& json) {
    json["model_args"]["use_rot_pos_emb"] = true;
    json["model_args"]["ref_feat_shape"] = {16, 8};
  });
  expect_in(vit.fault(), "key 'ref_feat_shape' must be the side of square images");
  expect_in(with("rope_type", "mixed"), "key 'rope_type' is \"mixed\", which is not understood");
  expect_in(with("use_post_norm", true), "key 'use_post_norm' is true, which is not understood");
  expect_in(with("attn_type", "rope"), "key 'attn_type' is \"rope\", which is not understood");
  vit.edit("config.json", [](Json& json) { json["pretrained_cfg"]["std"] = {0.5, 0, 0.5}; });
  expect_in(vit.fault(), "key 'std' must be positive");
  vit.edit("config.json", [](Json& json) { json["pretrained_cfg"]["interpolation"] = "random"; });
  expect_in(vit.fault(), "key 'interpolation' is 'random'; known are");
  vit.edit("config.json", [](Json& json) { json["pretrained_cfg"]["crop_mode"] = "random"; });
  expect_in(vit.fault(), "key 'crop_mode' is 'random'; known are center, squash, border");
  vit.edit("config.json", [](Json& json) { json["pretrained_cfg"]["crop_pct"] = 0; });
  expect_in(vit.fault(), "key 'crop_pct' must be a share of the image");
  vit.edit("config.json", [](Json& json) { json["model_args"].erase("num_heads"); });
  expect_in(vit.fault(), "one head for every 64 channels, and width 32 has no such number");
  vit.edit("config.json", [](Json& json) { json = 3; });
  expect_in(vit.fault(), "/config.json: expected an object");
}

TEST(HostileNetworks, EachFaultOfTransformersAndOpenClipIsNamed) {
  LACUNA_NEEDS_SHARED("golden/models/hf_teachers/dinov2/config.json");
  Spoilt dino("hf_teachers/dinov2");
  const auto with = [](Spoilt& network, const char* file, const std::function<void(Json&)>& change) {
    network.edit(file, change);
    return network.fault();
  };
  expect_in(with(dino, "config.json", [](Json& c) { c["hidden_size"] = 96; }), "key 'hidden_size' is 96");
  expect_in(with(dino, "config.json", [](Json& c) { c["image_size"] = 224; }), "a grid of side 28, but the tensors");
  expect_in(with(dino, "config.json", [](Json& c) { c["hidden_act"] = "relu"; }), "key 'hidden_act' is 'relu'");
  expect_in(with(dino, "config.json", [](Json& c) { c["layer_norm_eps"] = 0; }), "must be between 0 and 1, found 0");
  expect_in(with(dino, "config.json", [](Json& c) { c["num_attention_heads"] = 7; }), "not divisible into 7 heads");
  dino.reset();
  expect_in(with(dino, "preprocessor_config.json", [](Json& c) { c["resample"] = 9; }),
            "key 'resample' must be one of");
  expect_in(with(dino, "preprocessor_config.json", [](Json& c) { c["do_rescale"] = false; }),
            "'do_rescale' or 'rescale_factor' says otherwise");

  Spoilt open_clip("clip_openclip/gelu", "open_clip_pytorch_model.safetensors");
  EXPECT_EQ(open_clip.fault(), "opened");
  const auto vision = [&](const char* key, const Json& value) {
    open_clip.edit("open_clip_config.json", [&](Json& c) { c["model_cfg"]["vision_cfg"][key] = value; });
    return open_clip.fault();
  };
  expect_in(vision("layers", 12), "vision_cfg: key 'layers' is 12, but the tensors say 3");
  expect_in(vision("head_width", 36), "width 48 is not divisible into heads of 36");
  expect_in(vision("timm_model_name", "convnext"), "key 'timm_model_name' is \"convnext\", which is not understood");
  expect_in(vision("attentional_pool", true), "which is not understood");
  open_clip.edit("open_clip_config.json", [](Json& c) { c.erase("model_cfg"); });
  expect_in(open_clip.fault(), "expected the key model_cfg");
  open_clip.edit("open_clip_config.json", [](Json& c) { c["model_cfg"]["text_cfg"]["vocab_size"] = 49408; });
  const auto read_both = [](const fs::path& folder) { read_clip(folder); };
  expect_in(open_clip.fault(read_both), "text_cfg: key 'vocab_size' is 49408, but the tensors say 1024");
  open_clip.reset();
  open_clip.replace("visual.proj", at::zeros({7, 9}));
  expect_in(open_clip.fault(), "the projection has shape [7,9], but the network's width is 48");
}

TEST(HostileNetworks, AConfigurationCannotAskForMoreThanTheFileCouldFill) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Spoilt clip("clip_hf/quickgelu");
  clip.edit("config.json", [](Json& c) {
    for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers"}) c["vision_config"][key] = 1 << 20;
  });
  expect_in(clip.fault([](const fs::path& folder) { load_clip_vision(folder, read_clip_config(folder)); }),
            "the sizes in config.json describe a network of");
  clip.edit("config.json", [](Json& c) { c["text_config"]["vocab_size"] = 1 << 20; });
  expect_in(clip.fault([](const fs::path& folder) { read_clip(folder); }), "describe a network of");
}

TEST(HostileNetworks, WhatIsNoNetworkIsRefusedWithWhatWasExpected) {
  LACUNA_NEEDS_SHARED("golden/models/vqkd/vqkd.safetensors");
  expect_in(Spoilt("vqkd", "vqkd.safetensors").fault(), "no known vision transformer; expected the tensor names of");
  expect_in(Spoilt("dvae/h16_v64", "encoder.safetensors").fault(), "no known vision transformer");
  Spoilt vit("timm/vit_plain/timm");
  vit.replace("patch_embed.proj.weight", {});
  expect_in(vit.fault(), "nearest is ViT or BEiT (timm), whose 'patch_embed.proj.weight' it lacks");
  const TemporaryFolder folder;
  EXPECT_THROW(open_frozen_vit(folder / "absent"), Error);
  EXPECT_THROW(open_frozen_vit(folder), Error);
  write_file_atomic(folder / "a.safetensors", "nonsense");
  EXPECT_THROW(open_frozen_vit(folder), Error);
  write_file_atomic(folder / "b.safetensors", "nonsense");
  try {
    open_frozen_vit(folder);
    FAIL() << "opened";
  } catch (const Error& error) {
    expect_in(error.what(), "holds 2 safetensors files and no model.safetensors");
  }
}

// ---- Mutations -----------------------------------------------------------------------------------------------------

struct Victim {
  std::string folder, weights;
  std::function<void(const fs::path&)> open;
};

void PrintTo(const Victim& each, std::ostream* out) { *out << each.folder; }

class Mutations : public ::testing::TestWithParam<Victim> {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/models/" + GetParam().folder);
    spoilt_.emplace(GetParam().folder, GetParam().weights);
  }

  int64_t draw(int64_t below) { return rng_.integer(0, below - 1); }
  template <class Values>
  auto one_of(const Values& values) {
    return *(values.begin() + draw(static_cast<int64_t>(values.size())));
  }
  // Opening may work or throw an Error; anything else escapes and fails the test.
  void open() { faults_ += spoilt_->fault(GetParam().open) != "opened"; }

  Rng rng_{7, Purpose::kTest};
  std::optional<Spoilt> spoilt_;
  int faults_ = 0;
};

TEST_P(Mutations, OfBytesAreOnlyEverErrors) {
  const std::string original = spoilt_->bytes();
  uint64_t header = 0;
  for (size_t i = 8; i-- > 0;) header = header << 8 | static_cast<unsigned char>(original[i]);
  for (int round = 0; round < 60; ++round) {
    std::string bytes = original;
    for (int flip = 0; flip <= round % 4; ++flip)
      bytes[static_cast<size_t>(draw(static_cast<int64_t>(header) + 8))] = static_cast<char>(draw(256));
    if (round % 6 == 0) bytes.resize(static_cast<size_t>(draw(static_cast<int64_t>(bytes.size()))));
    spoilt_->write_weights(bytes);
    open();
  }
  EXPECT_GT(faults_, 20);
}

TEST_P(Mutations, OfTensorsAreOnlyEverErrors) {
  const std::vector<std::string> names = spoilt_->tensors();
  for (int round = 0; round < 60; ++round) {
    const std::string name = one_of(names);
    std::vector<int64_t> shape = spoilt_->tensor(name).sizes().vec();
    const std::vector<int64_t> extents = {0, 1, 2, 3, 5, 31, 33, 64, 1000};
    if (!shape.empty() && round % 3 > 0)
      shape[static_cast<size_t>(draw(static_cast<int64_t>(shape.size())))] = one_of(extents);
    if (round % 5 == 0) shape.push_back(1);
    const at::Tensor value = round % 4 == 0 ? at::Tensor() : at::zeros(shape, round % 7 == 0 ? at::kInt : at::kFloat);
    spoilt_->replace(name, value);
    open();
  }
  EXPECT_GT(faults_, 20);
}

class ConfigMutations : public Mutations {};

TEST_P(ConfigMutations, AreOnlyEverErrors) {
  const std::vector<Json> values = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    1,
                                    3,
                                    1 << 20,
                                    9007199254740993,
                                    18446744073709551615u,
                                    1e300,
                                    -0.5,
                                    "",
                                    "x",
                                    Json::array(),
                                    Json::object(),
                                    {1, 2, 3},
                                    {0.5, 0.5}};
  for (int round = 0; round < 60; ++round) {
    spoilt_->reset();
    spoilt_->edit(one_of(spoilt_->configs()), [&](Json& json) {
      Json* place = &json;
      while (place->is_object() && !place->empty()) {
        auto item = place->begin();
        std::advance(item, draw(static_cast<int64_t>(place->size())));
        place = &item.value();
      }
      *place = one_of(values);
    });
    open();
  }
  EXPECT_GT(faults_, 0);
}

void open_larger(const fs::path& folder) { open_frozen_vit(folder, 48); }

const std::vector<Victim>& described_victims() {  // those with a configuration beside the weights
  static const std::vector<Victim> kVictims = {
      {"timm/beit_shared/timm", "model.safetensors", open_larger},
      {"timm/vit_no_embed_class/timm", "model.safetensors", open_larger},
      {"timm/cae_finetuned/hf_beit", "model.safetensors", open_classifier},
      {"hf_teachers/dinov2_swiglu", "model.safetensors", [](const fs::path& folder) { open_frozen_vit(folder, 42); }},
      {"hf_teachers/siglip_vision", "model.safetensors", open_classifier},
      {"clip_openclip/custom_text_bias", "open_clip_pytorch_model.safetensors", read_clip},
      {"clip_hf/quickgelu", "model.safetensors", open_larger},
      {"vqkd", "vqkd.safetensors", open_vqkd}};
  return kVictims;
}

std::vector<Victim> victims() {
  std::vector<Victim> all = described_victims();
  all.push_back({"dvae/h16_v64", "encoder.safetensors", open_dvae});
  return all;
}

std::string victim_name(const ::testing::TestParamInfo<Victim>& each) {
  std::string name = each.param.folder;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Networks, Mutations, ::testing::ValuesIn(victims()), victim_name);
INSTANTIATE_TEST_SUITE_P(Networks, ConfigMutations, ::testing::ValuesIn(described_victims()), victim_name);

}  // namespace
}  // namespace lacuna
