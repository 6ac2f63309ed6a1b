// CLIP folders: both towers against transformers' outputs, what is written is what was read, and each fault is named.

#include "nn/clip.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

fs::path case_folder(const std::string& name) { return golden_path("models/clip_hf/" + name); }

// Everything a CLIP folder holds, under clip_key_map's names.
struct WholeClip {
  explicit WholeClip(const fs::path& folder, at::ScalarType dtype = at::kFloat)
      : config(read_clip_config(folder)),
        vision(config),
        text(config.text),
        text_projection(Linear(config.text.width, config.embed, false)) {
    vision->to(dtype);
    text->to(dtype);
    text_projection->to(dtype);
    logit_scale = logit_scale.to(dtype);
    import_weights(TensorFile(folder / "model.safetensors"), clip_key_map(config), tensors());
  }
  NamedTensors tensors() const {
    NamedTensors out = named_tensors(*vision);
    for (const auto& named : named_tensors(*text, "text.")) out.push_back(named);
    for (const auto& named : named_tensors(*text_projection, "text_projection.")) out.push_back(named);
    out.emplace_back("logit_scale", logit_scale);
    return out;
  }
  ClipConfig config;
  ClipVision vision;
  TextTower text;
  Linear text_projection;
  at::Tensor logit_scale = at::zeros({});
};

struct Variant {
  std::string name;
  at::ScalarType dtype;
};

class ClipParity : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/models/clip_hf/" + GetParam().name + "/io.safetensors"); }

  // Compares every output under `prefix` with `found`; outputs that are out of scope are listed with the reason.
  void expect_all(const std::string& prefix, const std::map<std::string, at::Tensor>& found,
                  const std::map<std::string, std::string>& out_of_scope) {
    const TensorFile io(case_folder(GetParam().name) / "io.safetensors");
    const double limit = GetParam().dtype == at::kDouble ? 1e-12 : 1e-5;
    std::set<std::string> compared;
    for (const std::string& key : io.names()) {
      if (!key.starts_with(prefix) || out_of_scope.contains(key)) continue;
      const auto mine = found.find(key.substr(prefix.size()));
      if (mine == found.end()) {
        ADD_FAILURE() << "nothing was compared with " << key;
        continue;
      }
      const at::Tensor wanted = to_tensor(io.at(key));
      const double rms = std::sqrt(wanted.square().mean().item<double>());
      ledger_.expect(prefix, key, deviation(mine->second, wanted) / std::max(1.0, rms), limit);
      compared.insert(mine->first);
    }
    EXPECT_EQ(compared.size(), found.size());
  }
  at::Tensor input(const std::string& key) const {
    return to_tensor(TensorFile(case_folder(GetParam().name) / "io.safetensors").at("input." + key));
  }
  Ledger ledger_;
};

TEST_P(ClipParity, EveryStageOfTheVisionTowerAgrees) {
  const at::NoGradGuard no_grad;
  const fs::path folder = case_folder(GetParam().name);
  ClipVision tower = load_clip_vision(folder, read_clip_config(folder));
  tower->to(GetParam().dtype);
  const at::Tensor pixels = input("pixel_values").to(GetParam().dtype);
  std::map<std::string, at::Tensor> found;
  found["patch_embed"] = tower->vit->patches(pixels);
  const at::Tensor cls = tower->vit->cls_token.expand({pixels.size(0), 1, -1});
  found["embeddings"] = at::cat({cls, found["patch_embed"]}, 1) + tower->vit->pos_embed;
  const at::Tensor last = tower->vit->run_blocks(pixels, {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    found[block < 0 ? std::string("pre_ln") : text("hidden_states.", block + 1)] = tokens;
  });
  found["post_ln_all"] = tower->vit->norm(last);
  EXPECT_TRUE(found["post_ln_all"].equal(tower->vit->encode(pixels)));
  found["projected_all"] = tower->projection(found["post_ln_all"]);
  found["pooler_output"] = found["post_ln_all"].select(1, 0);
  found["image_features"] = found["projected_all"].select(1, 0);
  expect_all("output.vision.", found,
             {{"output.vision.attn_probs.last", "attention is fused; its probabilities are never made"}});
}

TEST_P(ClipParity, EveryStageOfTheTextTowerAgrees) {
  const at::NoGradGuard no_grad;
  WholeClip clip(case_folder(GetParam().name), GetParam().dtype);
  const at::Tensor ids = input("input_ids");
  std::map<std::string, at::Tensor> found;
  at::Tensor x = found["embeddings"] = at::embedding(clip.text->token_embedding, ids) + clip.text->pos_embed;
  for (size_t i = 0; i < clip.text->blocks->size(); ++i)
    x = found[text("hidden_states.", i + 1)] = clip.text->blocks->ptr<BlockImpl>(i)->forward(x);
  found["final_ln"] = clip.text->tokens(ids);
  found["pooler_output"] = clip.text(ids);
  found["text_features"] = clip.text_projection(found["pooler_output"]);
  expect_all("output.text.", found, {});

  const at::Tensor rows = input("eot_index");
  for (int64_t t = 0; t < ids.size(0); ++t)
    EXPECT_TRUE(found["pooler_output"][t].equal(found["final_ln"][t][rows[t].item<int64_t>()])) << "text " << t;
}

TEST_P(ClipParity, ImagesAndTextsMeetAtTheReferencesLogits) {
  const at::NoGradGuard no_grad;
  WholeClip clip(case_folder(GetParam().name), GetParam().dtype);
  const auto unit_rows = [](const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true); };
  const at::Tensor image = unit_rows(
      clip.vision->projection(clip.vision->vit->encode(input("pixel_values").to(GetParam().dtype)).select(1, 0)));
  const at::Tensor words = unit_rows(clip.text_projection(clip.text(input("input_ids"))));
  std::map<std::string, std::string> elsewhere;
  const TensorFile io(case_folder(GetParam().name) / "io.safetensors");
  for (const std::string& key : io.names()) {
    if (key.starts_with("output.vision.") || key.starts_with("output.text.")) elsewhere[key] = "compared above";
    if (key.starts_with("output.interp.")) elsewhere[key] = "towers run at their own size";
  }
  expect_all("output.",
             {{"image_embeds", image},
              {"text_embeds", words},
              {"logits_per_image", clip.logit_scale.exp() * at::matmul(image, words.t())}},
             elsewhere);
}

INSTANTIATE_TEST_SUITE_P(Folders, ClipParity,
                         ::testing::Values(Variant{"quickgelu", at::kDouble}, Variant{"quickgelu", at::kFloat},
                                           Variant{"gelu_realvocab", at::kDouble},
                                           Variant{"gelu_realvocab", at::kFloat}),
                         [](const auto& each) {
                           return each.param.name + (each.param.dtype == at::kDouble ? "_f64" : "_f32");
                         });

// ---- Folders written and folders broken ----

class ClipFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
    folder_ = fs::path(::testing::TempDir()) /
              text("clip-", getpid(), "-", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    for (const char* file : {"config.json", "preprocessor_config.json", "model.safetensors"})
      fs::copy_file(case_folder("quickgelu") / file, folder_ / file, fs::copy_options::overwrite_existing);
    for (const auto& entry : fs::directory_iterator(folder_)) fs::permissions(entry, fs::perms::owner_all);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void edit(const char* file, const std::function<void(Json&)>& change) const {
    Json json = read_json(case_folder("quickgelu") / file);
    change(json);
    write_json_atomic(folder_ / file, json);
  }
  // The folder's tensors with one replaced or, when undefined, left out.
  void replace(const std::string& name, const at::Tensor& value) const {
    const TensorFile original(case_folder("quickgelu") / "model.safetensors");
    NamedTensors tensors;
    for (const std::string& key : original.names()) {
      if (key != name) tensors.emplace_back(key, to_tensor(original.at(key)));
    }
    if (value.defined()) tensors.emplace_back(name, value);
    std::vector<at::Tensor> keep;
    write_safetensors(folder_ / "model.safetensors", to_views(tensors, keep));
  }
  // What opening the folder says, the folder's path left out.
  std::string fault() const {
    try {
      load_clip_vision(folder_, read_clip_config(folder_));
    } catch (const Error& error) {
      std::string message = error.what();
      const std::string path = folder_.string();
      for (size_t at = message.find(path); at != std::string::npos; at = message.find(path))
        message.erase(at, path.size());
      return message;
    }
    return "opened";
  }
  fs::path folder_;
};

TEST_F(ClipFolder, IsReadWithItsSizesAndStatistics) {
  const ClipConfig c = read_clip_config(folder_);
  EXPECT_EQ(c.vision.image_side, 32);
  EXPECT_EQ(c.vision.patch_side, 8);
  EXPECT_EQ(c.vision.width, 128);
  EXPECT_EQ(c.vision.depth, 2);
  EXPECT_EQ(c.vision.heads, 2);
  EXPECT_EQ(c.vision.hidden, 512);
  EXPECT_EQ(c.vision.activation, Activation::kQuickGelu);
  EXPECT_EQ(c.vision.norm_eps, 1e-5);
  EXPECT_TRUE(c.vision.pre_norm);
  EXPECT_FALSE(c.vision.patch_bias);
  EXPECT_EQ(c.text.vocabulary, 1024);
  EXPECT_EQ(c.text.context, 20);
  EXPECT_TRUE(c.text.pool_at_largest_id);
  EXPECT_EQ(c.embed, 48);
  EXPECT_EQ(c.stats, kClipStats);
  EXPECT_EQ(c.kernel, Kernel::kBicubic);
  EXPECT_FALSE(read_clip_config(case_folder("gelu_realvocab")).text.pool_at_largest_id);
}

TEST_F(ClipFolder, WhatIsWrittenIsWhatWasRead) {
  for (const char* name : {"quickgelu", "gelu_realvocab"}) {
    const WholeClip clip(case_folder(name));
    const fs::path copy = folder_ / name;
    write_clip_folder(copy, clip.config, clip.tensors());
    const TensorFile before(case_folder(name) / "model.safetensors"), after(copy / "model.safetensors");
    EXPECT_EQ(after.names().size(), before.names().size());
    for (const std::string& key : before.names()) {
      const at::Tensor wanted = to_tensor(before.at(key)).to(at::kFloat);  // the second case is stored in halves
      EXPECT_TRUE(to_tensor(after.at(key)).equal(wanted)) << key;
    }
    const WholeClip again(copy);
    const NamedTensors first = clip.tensors(), second = again.tensors();
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].second.equal(second[i].second)) << first[i].first;
    EXPECT_EQ(again.config.text.pool_at_largest_id, clip.config.text.pool_at_largest_id);
    EXPECT_EQ(again.config.vision.activation, clip.config.vision.activation);
    EXPECT_EQ(again.config.stats, clip.config.stats);
  }
}

TEST_F(ClipFolder, ValuesThatTransformersLeavesOutAreItsDefaults) {
  edit("config.json", [](Json& c) {
    c["vision_config"] = {{"model_type", "clip_vision_model"}, {"patch_size", 16}};
    c["text_config"] = {{"model_type", "clip_text_model"}, {"eos_token_id", 2}};
    c.erase("projection_dim");
  });
  fs::remove(folder_ / "preprocessor_config.json");
  const ClipConfig c = read_clip_config(folder_);
  EXPECT_EQ(c.vision.image_side, 224);
  EXPECT_EQ(c.vision.width, 768);
  EXPECT_EQ(c.vision.heads, 12);
  EXPECT_EQ(c.vision.hidden, 3072);
  EXPECT_EQ(c.vision.activation, Activation::kQuickGelu);
  EXPECT_EQ(c.text.width, 512);
  EXPECT_EQ(c.text.heads, 8);
  EXPECT_EQ(c.text.hidden, 2048);
  EXPECT_EQ(c.embed, 512);
  EXPECT_EQ(c.stats, kClipStats);
}

TEST_F(ClipFolder, EachFaultOfTheTensorsIsNamed) {
  const std::string file = "/model.safetensors: ", query = "vision_model.encoder.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(fault(), "opened");
  replace("visual_projection.weight", {});
  EXPECT_EQ(
      fault(),
      file + "1 tensors of the model are not in the file: vision_projection.weight (there: visual_projection.weight)");
  replace(query, {});
  EXPECT_EQ(fault(), file + "1 tensors of the model are not in the file: vision.blocks.0.attn.qkv.weight (there: " +
                         query + ")");
  replace("vision_model.encoder.layers.7.layer_norm1.bias", at::zeros({128}));
  EXPECT_EQ(fault(),
            file + "1 tensors of the file have no place in the model: vision_model.encoder.layers.7.layer_norm1.bias");
  replace("visual_projection.weight", at::zeros({48, 64}));
  EXPECT_EQ(fault(), file +
                         "tensor 'visual_projection.weight' has shape [48,64], but the model built from the "
                         "configuration needs [48,128]");
  replace("visual_projection.weight", at::zeros({128, 48}));  // OpenAI's own layout: as many numbers, another meaning
  EXPECT_EQ(fault(), file +
                         "tensor 'visual_projection.weight' has shape [128,48], but the model built from the "
                         "configuration needs [48,128]");
  replace("vision_model.embeddings.patch_embedding.weight", at::zeros({128, 8, 8, 3}));
  EXPECT_EQ(
      fault(),
      file +
          "tensor 'vision_model.embeddings.patch_embedding.weight' has shape [128,8,8,3], but the model built from the "
          "configuration needs [128,3,8,8]");
  fs::remove(folder_ / "model.safetensors");
  EXPECT_EQ(fault(), ": model.safetensors is missing");
}

TEST_F(ClipFolder, EachFaultOfTheConfigurationIsNamed) {
  struct Fault {
    std::function<void(Json&)> change;
    std::string message;
  };
  const std::string vision = "/config.json: vision_config: ", words = "/config.json: text_config: ";
  const Fault faults[] = {
      {[](Json& c) { c["model_type"] = "siglip"; }, "/config.json: expected model_type 'clip', found 'siglip'"},
      {[](Json& c) { c.erase("model_type"); }, "/config.json: expected model_type 'clip', found 'none'"},
      {[](Json& c) { c["model_type"] = 3; }, "/config.json: key 'model_type' must be a word, found 3"},
      {[](Json& c) { c = Json::array(); }, "/config.json: expected an object"},
      {[](Json& c) { c.erase("text_config"); }, "/config.json: expected the keys vision_config and text_config"},
      {[](Json& c) { c["vision_config"] = 1; }, vision + "expected an object"},
      {[](Json& c) { c["vision_config"]["hidden_size"] = -1; },
       vision + "key 'hidden_size' must be a positive integer up to 1048576, found -1"},
      {[](Json& c) { c["vision_config"]["hidden_size"] = 1.5; },
       vision + "key 'hidden_size' must be a positive integer up to 1048576, found 1.5"},
      {[](Json& c) { c["vision_config"]["num_hidden_layers"] = int64_t{1} << 40; },
       vision + "key 'num_hidden_layers' must be a positive integer up to 1048576, found 1099511627776"},
      {[](Json& c) { c["vision_config"]["num_channels"] = 4; },
       vision + "only images of 3 channels are supported, found 4"},
      {[](Json& c) { c["vision_config"]["hidden_act"] = "relu"; },
       vision + "key 'hidden_act' is 'relu'; known activations are gelu, quick_gelu, gelu_pytorch_tanh, gelu_new"},
      {[](Json& c) { c["vision_config"]["hidden_act"] = nullptr; },
       vision + "key 'hidden_act' must be a word, found null"},
      {[](Json& c) { c["vision_config"]["layer_norm_eps"] = "small"; },
       vision + "key 'layer_norm_eps' must be a number, found \"small\""},
      {[](Json& c) { c["vision_config"]["patch_size"] = 7; },
       vision + "image_size 32 is not a multiple of patch_size 7"},
      {[](Json& c) { c["vision_config"]["num_attention_heads"] = 3; },
       vision + "hidden_size 128 is not divisible into num_attention_heads 3"},
      {[](Json& c) { c["text_config"]["num_attention_heads"] = 7; },
       words + "hidden_size 64 is not divisible into num_attention_heads 7"},
      {[](Json& c) { c["text_config"]["eos_token_id"] = 1024; },
       words + "eos_token_id 1024 is outside the vocabulary of 1024"},
  };
  for (const Fault& expected : faults) {
    edit("config.json", expected.change);
    EXPECT_EQ(fault(), expected.message);
  }
  // A configuration that contradicts the weights.
  edit("config.json", [](Json& c) { c["vision_config"]["num_hidden_layers"] = 1; });
  EXPECT_NE(fault().find("tensors of the file have no place in the model: vision_model.encoder.layers.1."),
            std::string::npos)
      << fault();
  edit("config.json", [](Json& c) { c["vision_config"]["num_hidden_layers"] = 3; });
  EXPECT_NE(fault().find("tensors of the model are not in the file: vision.blocks.2."), std::string::npos) << fault();
  edit("config.json", [](Json& c) { c["projection_dim"] = 40; });
  EXPECT_EQ(fault(),
            "/model.safetensors: tensor 'visual_projection.weight' has shape [48,128], but the model built from the "
            "configuration needs [40,128]");
  fs::remove(folder_ / "config.json");
  EXPECT_EQ(fault(),
            ": not a CLIP folder: config.json is missing (expected the files that CLIPModel.save_pretrained writes: "
            "config.json and model.safetensors)");
}

TEST_F(ClipFolder, EachFaultOfThePreprocessingIsNamed) {
  struct Fault {
    std::function<void(Json&)> change;
    std::string message;
  };
  const std::string file = "/preprocessor_config.json: ";
  const Fault faults[] = {
      {[](Json& c) {
         c["crop_size"] = {{"height", 48}, {"width", 48}};
       },
       file + "crop_size is 48 but config.json says the network takes images of side 32"},
      {[](Json& c) { c["crop_size"] = 48; },
       file + "crop_size is 48 but config.json says the network takes images of side 32"},
      {[](Json& c) {
         c["image_std"] = {0.2, 0.2, 0};
       },
       file + "key 'image_std' must be positive"},
      {[](Json& c) {
         c["image_mean"] = {0.2, 0.2};
       },
       file + "key 'image_mean' must be 3 numbers, found [0.2,0.2]"},
      {[](Json& c) { c["resample"] = 0; },
       file + "key 'resample' must be one of 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box), 5 (hamming), found 0"},
      {[](Json& c) { c["resample"] = "bicubic"; }, file + "key 'resample' must be an integer, found \"bicubic\""},
      {[](Json& c) { c = 3; }, file + "expected an object"},
  };
  for (const Fault& expected : faults) {
    edit("preprocessor_config.json", expected.change);
    EXPECT_EQ(fault(), expected.message);
  }
}

}  // namespace
}  // namespace lacuna
