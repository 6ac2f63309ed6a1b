// Folders for other programs: the same names, shapes, numbers and configuration as those programs' own folders of the
// same network, from whatever form it was opened in.

#include "nn/weights/export_folder.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "io/files.h"
#include "nn/clip_towers.h"
#include "nn/frozen_vit.h"
#include "nn/init.h"
#include "nn/weights/portable_clip.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::deviation;
using testing::golden_path;
using testing::Json;
using testing::TemporaryFolder;

enum class To { kTimm, kHf, kOpenClip };

struct Conversion {
  std::string from, wanted;  // below golden/models
  To to;
  bool head = true;
  at::ScalarType dtype = at::kFloat;
  std::set<std::string> absent = {};  // tensors of the wanted folder that the network does not have
  std::set<std::string> unlike = {};  // tensors or keys that differ for a reason
};

void PrintTo(const Conversion& c, std::ostream* out) { *out << c.from << " to " << c.wanted; }

// Keys of transformers' and timm's own writers that change nothing of what an encoder computes.
const std::set<std::string> kOfNoEffect = {"add_fpn",
                                           "attention_probs_dropout_prob",
                                           "auxiliary_channels",
                                           "auxiliary_concat_input",
                                           "attention_dropout",
                                           "auxiliary_loss_weight",
                                           "auxiliary_num_convs",
                                           "drop_path_rate",
                                           "hidden_dropout_prob",
                                           "initializer_range",
                                           "initializer_factor",
                                           "out_features",
                                           "out_indices",
                                           "pool_scales",
                                           "reshape_hidden_states",
                                           "semantic_loss_ignore_index",
                                           "stage_names",
                                           "transformers_version",
                                           "use_auxiliary_head",
                                           "vocab_size",
                                           "encoder_stride",
                                           "pooler_act",
                                           "pooler_output_size",
                                           "apply_layernorm",
                                           "dtype",
                                           "use_mask_token",
                                           "layerscale_value",
                                           "intermediate_size.dinov2"};

void convert(const Conversion& c, const fs::path& folder) {
  const fs::path from = golden_path("models/" + c.from);
  const bool both = holds_clip(from);
  if (c.to == To::kTimm) return write_timm_folder(folder, open_portable(from, c.head), c.dtype);
  if (c.to == To::kOpenClip) return write_open_clip_folder(folder, open_portable_clip(from), c.dtype);
  if (both) return write_transformers_folder(folder, open_portable_clip(from), c.dtype);
  PortableVit net = open_portable(from, c.head);
  if (!c.head) drop_head(net);
  write_transformers_folder(folder, net, c.dtype);
}

void expect_keys(const Json& ours, const Json& wanted, const Conversion& c, const std::string& where) {
  for (const auto& [key, value] : wanted.items()) {
    if (c.unlike.contains(key) || (!ours.contains(key) && kOfNoEffect.contains(key))) continue;
    if (kOfNoEffect.contains(key) && key != "vocab_size") continue;
    ASSERT_TRUE(ours.contains(key)) << where << key;
    if (value.is_object()) {
      expect_keys(ours[key], value, c, where + key + ".");
    } else {
      EXPECT_EQ(ours[key], value) << where << key;
    }
  }
}

void expect_tensors(const TensorFile& ours, const TensorFile& wanted, const Conversion& c) {
  EXPECT_EQ(ours.names().size() + c.absent.size(), wanted.names().size());
  for (const std::string& name : wanted.names()) {
    if (c.absent.contains(name)) continue;
    ASSERT_TRUE(ours.has(name)) << name;
    if (c.unlike.contains(name)) continue;
    const TensorInfo &a = ours.at(name), &b = wanted.at(name);
    EXPECT_EQ(a.dtype, b.dtype) << name;
    EXPECT_EQ(a.shape, b.shape) << name;
    EXPECT_TRUE(std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end())) << name;
  }
}

fs::path weights_in(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  return folder / "no weights";
}

class Conversions : public ::testing::TestWithParam<Conversion> {};

TEST_P(Conversions, GiveTheFolderThatTheOtherProgramHas) {
  const Conversion& c = GetParam();
  LACUNA_NEEDS_SHARED("golden/models/" + c.wanted);
  const TemporaryFolder folder;
  convert(c, folder / "out");
  const fs::path wanted = golden_path("models/" + c.wanted);
  expect_tensors(TensorFile(weights_in(folder / "out")), TensorFile(weights_in(wanted)), c);
  for (const char* name : {"config.json", "open_clip_config.json"}) {
    if (fs::exists(wanted / name)) expect_keys(read_json(folder / "out" / name), read_json(wanted / name), c, "");
  }
  if (!fs::exists(wanted / "preprocessor_config.json")) return;
  const Json ours = read_json(folder / "out/preprocessor_config.json");
  const Json theirs = read_json(wanted / "preprocessor_config.json");
  for (const char* key : {"image_mean", "image_std", "resample", "do_rescale", "rescale_factor", "do_normalize"})
    EXPECT_EQ(ours[key], theirs[key]) << key;
}

// A written folder opens, and what it is written as again is the same file, byte by byte.
TEST_P(Conversions, OpenAgainToTheSameBytes) {
  const Conversion& c = GetParam();
  LACUNA_NEEDS_SHARED("golden/models/" + c.from);
  const TemporaryFolder folder;
  convert(c, folder / "first");
  Conversion again = c;
  again.from = fs::relative(folder / "first", golden_path("models")).string();
  convert(again, folder / "second");
  const auto bytes = [](const fs::path& file) { return read_file(file, 1u << 30); };
  EXPECT_EQ(bytes(weights_in(folder / "first")), bytes(weights_in(folder / "second")));
  for (const char* name : {"config.json", "preprocessor_config.json", "open_clip_config.json"}) {
    if (!fs::exists(folder / "first" / name)) continue;
    Json first = read_json(folder / "first" / name), second = read_json(folder / "second" / name);
    for (Json* each : {&first, &second}) each->erase("layerscale_value"), each->erase("layer_scale_init_value");
    EXPECT_EQ(first, second) << name;
  }
}

std::string timm(const std::string& name) { return "timm/" + name + "/timm"; }

// DINOv2's mask token is of its pretraining; layer scale's initial value is not told by its folder.
const std::set<std::string> kMaskToken = {"embeddings.mask_token"};

std::vector<Conversion> conversions() {
  std::vector<Conversion> out;
  for (const char* name : {"vit_plain", "vit_features_only", "vit_layerscale", "vit_avg_fcnorm", "beit_unshared",
                           "beit_shared", "cae_encoder", "cae_finetuned"})
    out.push_back({.from = timm(name), .wanted = timm(name), .to = To::kTimm});
  // A class row of zeros is written, and so not said to be absent.
  out.push_back({.from = timm("vit_no_embed_class"),
                 .wanted = timm("vit_no_embed_class"),
                 .to = To::kTimm,
                 .unlike = {"pos_embed", "no_embed_class"}});
  const auto hf = [&](const char* name, const char* twin, bool head = true, std::set<std::string> absent = {}) {
    out.push_back({.from = timm(name),
                   .wanted = text("timm/", name, "/", twin),
                   .to = To::kHf,
                   .head = head,
                   .absent = std::move(absent)});
  };
  hf("vit_plain", "hf_vit_classifier");
  hf("vit_plain", "hf_vit", false);
  hf("vit_features_only", "hf_vit");
  hf("vit_no_embed_class", "hf_vit", false);
  hf("vit_layerscale", "hf_dinov2", false, kMaskToken);
  hf("cae_encoder", "hf_dinov2", true, kMaskToken);
  hf("vit_avg_fcnorm", "hf_beit");
  hf("beit_unshared", "hf_beit");
  hf("beit_shared", "hf_beit_classifier");
  hf("beit_shared", "hf_beit", false);
  hf("cae_finetuned", "hf_beit");
  // Their image processors squash, and that is kept.
  out.push_back({.from = "timm/vit_plain/hf_vit_classifier",
                 .wanted = timm("vit_plain"),
                 .to = To::kTimm,
                 .unlike = {"crop_mode"}});
  out.push_back({.from = "timm/beit_unshared/hf_beit",
                 .wanted = timm("beit_unshared"),
                 .to = To::kTimm,
                 .unlike = {"crop_mode"}});
  for (const char* name : {"dinov2", "dinov2_swiglu", "siglip_vision"}) {
    const std::string folder = std::string("hf_teachers/") + name;
    const bool dinov2 = std::string(name) != "siglip_vision";
    out.push_back(
        {.from = folder, .wanted = folder, .to = To::kHf, .absent = dinov2 ? kMaskToken : std::set<std::string>()});
  }
  out.push_back({.from = "clip_hf/quickgelu", .wanted = "clip_hf/quickgelu", .to = To::kHf});
  out.push_back(
      {.from = "clip_hf/gelu_realvocab", .wanted = "clip_hf/gelu_realvocab", .to = To::kHf, .dtype = at::kHalf});
  for (const char* name : {"quickgelu", "gelu", "custom_text_bias"}) {
    const std::string folder = std::string("clip_openclip/") + name;
    out.push_back({.from = folder, .wanted = folder, .to = To::kOpenClip});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Golden, Conversions, ::testing::ValuesIn(conversions()), [](const auto& each) {
  std::string name = each.param.from + "_to_" + each.param.wanted + (each.param.head ? "" : "_without_head");
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

// ---- Rewritings ------------------------------------------------------------------------------------------------

VitConfig micro() { return {.image_side = 32, .patch_side = 8, .width = 32, .depth = 2, .heads = 4, .hidden = 112}; }

Backbone filled(const VitConfig& c) {
  Backbone out{.config = {.vit = c}, .vit = Vit(c), .origin = ""};
  for (auto& item : out.vit->named_parameters()) fill_uniform(item.value().detach(), 0.3, 5, item.key());
  out.vit->eval();
  return out;
}

at::Tensor features(const Vit& vit) {
  const at::NoGradGuard no_grad;
  return Vit(vit)->encode(at::ones({2, 3, 32, 32}).cumsum(3).sin());
}

// Every student that can be configured, into every folder that takes it: the reader of that folder, which is held to
// the program's own outputs elsewhere, computes the same.
TEST(ExportFolder, WhatATargetTakesComputesTheSameThere) {
  const at::NoGradGuard no_grad;
  int written = 0;
  for (const Positions positions : {Positions::kNone, Positions::kSinCos, Positions::kLearned}) {
    for (const RelativeBiasKind bias :
         {RelativeBiasKind::kNone, RelativeBiasKind::kShared, RelativeBiasKind::kPerBlock}) {
      for (const QkvBias qkv : {QkvBias::kNone, QkvBias::kQueryValue, QkvBias::kAll}) {
        for (const bool scale : {false, true}) {
          VitConfig c = micro();
          c.positions = positions;
          c.relative_bias = bias;
          c.qkv_bias = qkv;
          if (scale) c.layer_scale = 0.1;
          const Backbone net = filled(c);
          const TemporaryFolder folder;
          PortableVit plain = portable(net);
          plain.own.reset();  // so that the folder is read as another program's
          ASSERT_EQ(why_not_timm(plain), "");
          ASSERT_EQ(why_not_transformers(plain), "");
          write_timm_folder(folder / "timm", plain);
          write_transformers_folder(folder / "hf", plain);
          for (const char* name : {"timm", "hf"}) {
            EXPECT_LT(deviation(features(open_frozen_vit(folder / name).vit), features(net.vit)), 1e-5)
                << name << " " << static_cast<int>(positions) << static_cast<int>(bias) << static_cast<int>(qkv);
            ++written;
          }
        }
      }
    }
  }
  EXPECT_EQ(written, 108);
}

TEST(ExportFolder, RegistersGoAlong) {
  const at::NoGradGuard no_grad;
  for (const Positions positions : {Positions::kNone, Positions::kSinCos, Positions::kLearned}) {
    for (const bool class_token : {true, false}) {
      VitConfig c = micro();
      c.hidden = 4 * c.width;  // DINOv2 takes whole ratios
      c.registers = 3;
      c.positions = positions;
      c.class_token = class_token;
      const Backbone net = filled(c);
      const TemporaryFolder folder;
      write_timm_folder(folder / "timm", portable(net));
      EXPECT_LT(deviation(features(open_backbone(folder / "timm").vit), features(net.vit)), 1e-5);
      EXPECT_EQ(why_not_transformers(portable(net)).empty(), class_token);
      if (!class_token) continue;
      write_transformers_folder(folder / "hf", portable(net));
      EXPECT_LT(deviation(features(open_backbone(folder / "hf").vit), features(net.vit)), 1e-5);
      EXPECT_TRUE(TensorFile(folder / "hf/model.safetensors").has("embeddings.mask_token"));
    }
  }
}

TEST(ExportFolder, NamesOfClassesGoAlong) {
  const std::vector<std::string> labels = {"cat", "a \"dog\", or two", "caf\xC3\xA9"};
  PortableVit net = portable(filled(micro()));
  net.own.reset();
  net.head.classes = 3;
  net.tensors.emplace_back("head.weight", at::ones({3, 32}));
  net.tensors.emplace_back("head.bias", at::ones({3}));
  net.labels = labels;
  const TemporaryFolder folder;
  write_timm_folder(folder / "timm", net);
  EXPECT_EQ(open_portable(folder / "timm").labels, labels);
  write_transformers_folder(folder / "hf", open_portable(folder / "timm"));
  EXPECT_EQ(open_portable(folder / "hf").labels, labels);
  Json config = read_json(folder / "hf/config.json");
  EXPECT_EQ(config["label2id"]["cat"], 0);
  for (const auto& [wrong, reason] :
       {std::pair<Json, std::string>({{"0", "cat"}}, "names 1 classes, but the classifier has 3"),
        std::pair<Json, std::string>({{"0", "cat"}, {"1", "dog"}, {"7", "cow"}}, "expected a name for class 2"),
        std::pair<Json, std::string>({{"0", "cat"}, {"1", 5}, {"2", "cow"}}, "a name for class 1, found number")}) {
    config["id2label"] = wrong;
    write_json_atomic(folder / "hf/config.json", config);
    try {
      open_classifier(folder / "hf");
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'id2label'"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
  }
}

TEST(ExportFolder, OurOwnFileKeepsTheConfigurationAndEveryBit) {
  for (const Positions positions : {Positions::kSinCos, Positions::kLearned, Positions::kNone}) {
    VitConfig c = micro();
    c.positions = positions;
    c.qkv_bias = QkvBias::kQueryValue;
    c.norm_eps = 1e-3;  // which timm cannot express
    const Backbone net = filled(c);
    const TemporaryFolder folder;
    write_plain_backbone(folder.path(), portable(net));
    const Backbone again = open_backbone(folder.path());
    EXPECT_TRUE(features(again.vit).equal(features(net.vit)));
    EXPECT_EQ(again.config.vit.positions, positions);
    EXPECT_EQ(again.config.vit.qkv_bias, QkvBias::kQueryValue);
  }
}

struct Refusal {
  std::string what;
  std::function<void(PortableVit&)> change;
  std::string timm, hf;  // words of the reason; empty: it is written
};

TEST(ExportFolder, WhatATargetCannotExpressIsRefusedWithTheReason) {
  const Refusal refusals[] = {
      {"shared bias, norm before",
       [](auto& n) { n.vit.relative_bias = RelativeBiasKind::kShared, n.vit.pre_norm = true; },
       "relative position bias, has no norm before", "norm before the blocks and a patch embedding without bias"},
      {"per-block bias, QuickGELU",
       [](auto& n) { n.vit.relative_bias = RelativeBiasKind::kPerBlock, n.vit.activation = Activation::kQuickGelu; },
       "BEiT takes exact GELU", ""},
      {"odd epsilon", [](auto& n) { n.vit.norm_eps = 1e-3; }, "epsilon 1e-6", ""},
      {"patch bias under a norm", [](auto& n) { n.vit.pre_norm = true; }, "no bias on its patches", "without bias"},
      {"two norms", [](auto& n) { n.head = {.pool = Pool::kMean, .norm = true, .classes = 0}; }, "one norm after",
       "not both"},
      {"mean of normed tokens, classified",
       [](auto& n) { n.head = {.pool = Pool::kMean, .norm = false, .classes = 3}; }, "", "head=false"},
      {"no class token, layer scale", [](auto& n) { n.vit.class_token = false, n.vit.layer_scale = 0.1; }, "",
       "has a layer scale"}};
  for (const Refusal& refusal : refusals) {
    PortableVit net = portable(filled(micro()));
    refusal.change(net);
    for (const auto& [reason, words] :
         {std::pair(why_not_timm(net), refusal.timm), std::pair(why_not_transformers(net), refusal.hf)}) {
      EXPECT_EQ(reason.empty(), words.empty()) << refusal.what << ": " << reason;
      EXPECT_NE(reason.find(words), std::string::npos) << refusal.what << ": " << reason;
    }
    if (refusal.timm.empty()) continue;
    EXPECT_THROW(write_timm_folder("/nonexistent", net), Error);
  }
}

TEST(ExportFolder, PythonCutsTheRatioToTheHiddenWidth) {
  for (int64_t width = 1; width < 200; ++width) {
    for (int64_t hidden = 1; hidden < 800; hidden += 7)
      ASSERT_EQ(static_cast<int64_t>(static_cast<double>(width) * mlp_ratio(hidden, width)), hidden) << width;
  }
}

// ---- Two towers ------------------------------------------------------------------------------------------------

PortableClip clip_of(const VitConfig& vision, Activation words) {
  ClipConfig config{.vision = vision,
                    .text = {.vocabulary = 64, .context = 8, .width = 16, .depth = 1, .heads = 2, .hidden = 64},
                    .embed = 12};
  config.text.activation = words;
  config.text.end_id = 63;
  const Vit vit(vision);
  const TextTower text(config.text);
  PortableClip out{.config = config, .tensors = named_tensors(*vit, "vision.", true), .tokenizer = {}, .notes = {}};
  for (auto& item : named_tensors(*text, "text.")) out.tensors.push_back(item);
  out.tensors.emplace_back("vision_projection.weight", torch::empty({12, vision.width}));
  out.tensors.emplace_back("text_projection.weight", torch::empty({12, 16}));
  out.tensors.emplace_back("logit_scale", torch::tensor(2.5f));
  for (auto& [name, tensor] : out.tensors) {
    tensor = tensor.detach();
    if (tensor.dim() > 0 && name != "vision.pos_embed") fill_uniform(tensor, 0.3, 5, name);
  }
  return out;
}

TEST(ExportFolder, AStudentWithPatchBiasBecomesOpenClipsTowerUpToRounding) {
  const at::NoGradGuard no_grad;
  VitConfig vision = micro();
  vision.positions = Positions::kSinCos;
  vision.layer_scale = 0.1;
  const PortableClip clip = clip_of(vision, Activation::kGelu);
  const TemporaryFolder folder;
  ASSERT_EQ(why_not_open_clip(clip), "");
  write_open_clip_folder(folder.path(), clip);
  Clip again = read_clip(folder.path());
  EXPECT_FALSE(again.config.vision.pre_norm);
  EXPECT_EQ(again.config.vision.norm_eps, vision.norm_eps);
  Vit own(vision);
  for (auto& [name, tensor] : named_tensors(*own, "vision.")) at::Tensor(tensor).copy_(*find(clip.tensors, name));
  EXPECT_LT(deviation(features(again.vision->vit), features(own)), 1e-5);
  for (const auto& [name, tensor] : again.tensors()) {
    if (!name.starts_with("text")) continue;
    EXPECT_TRUE(tensor.equal(*find(clip.tensors, name))) << name;
  }
}

TEST(ExportFolder, ATowerThatTimmHasByNameGoesToOpenClipUnderThatName) {
  VitConfig vision = named_vit("tiny");
  const PortableClip clip = clip_of(vision, Activation::kQuickGelu);
  const TemporaryFolder folder;
  ASSERT_EQ(why_not_open_clip(clip), "");
  write_open_clip_folder(folder.path(), clip);
  const Json config = read_json(folder / "open_clip_config.json")["model_cfg"];
  EXPECT_EQ(config["vision_cfg"]["timm_model_name"], "vit_tiny_patch16_224");
  EXPECT_EQ(config["vision_cfg"]["timm_pool"], "token");
  EXPECT_EQ(config["quick_gelu"], true);
  const TensorFile file(folder / "open_clip_model.safetensors");
  for (const char* name : {"visual.trunk.patch_embed.proj.bias", "visual.trunk.blocks.11.attn.qkv.bias",
                           "visual.head.proj.weight", "text_projection", "token_embedding.weight", "logit_scale"})
    EXPECT_TRUE(file.has(name)) << name;
  EXPECT_EQ(file.names().size(), clip.tensors.size());
}

TEST(ExportFolder, TowersThatOpenClipHasNotAreRefused) {
  VitConfig vision = micro();
  EXPECT_NE(why_not_open_clip(clip_of(vision, Activation::kQuickGelu)).find("one activation for both"),
            std::string::npos);
  vision.relative_bias = RelativeBiasKind::kShared;
  EXPECT_NE(why_not_open_clip(clip_of(vision, Activation::kGelu)).find("relative position bias"), std::string::npos);
  PortableClip both_ways = clip_of(micro(), Activation::kGelu);
  both_ways.config.text.causal = false;
  EXPECT_NE(why_not_open_clip(both_ways).find("causal mask"), std::string::npos);
  EXPECT_NE(why_not_transformers(both_ways), "");
}

}  // namespace
}  // namespace lacuna
