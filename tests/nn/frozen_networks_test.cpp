// Every frozen network of golden/models, opened from the files that users have and run in float64 and float32.

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/backbone.h"
#include "nn/clip_towers.h"
#include "nn/dvae.h"
#include "nn/frozen_case.h"
#include "nn/frozen_vit.h"
#include "nn/vit_resize.h"
#include "nn/vqkd.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

at::Tensor scaled(const at::Tensor& uint8) { return uint8.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0; }

// ---- Tokenizers ----------------------------------------------------------------------------------------------------

Outputs run_dvae(const fs::path& network, Stored& stored) {
  DvaeEncoder encoder = open_dvae(network);
  encoder->to(stored.dtype());
  Outputs out;
  for (const std::string side : {"32.", "112."}) {
    const at::Tensor mapped = DvaeEncoderImpl::map_pixels(scaled(stored.input(side + "image_uint8")));
    out[side + "map_pixels"] = side == "112." ? mapped.slice(2, 0, 16).slice(3, 0, 16) : mapped;
    DvaeEncoderImpl::Tap tap = [&](int64_t stage, const at::Tensor& x) {  // stored for the first image alone
      if (side == "32.") out[side + (stage == 0 ? "input_conv" : text("group_", stage))] = x.slice(0, 0, 1);
    };
    const at::Tensor logits = out[side + "logits"] = encoder->forward(mapped.to(stored.dtype()), tap);
    out[side + "ids"] = logits.argmax(1).flatten(1);
    const at::Tensor top = std::get<0>(logits.flatten(2).topk(2, 1));
    out[side + "top2_margin"] = top.select(1, 0) - top.select(1, 1);
  }
  return out;
}

Outputs run_vqkd(const fs::path& network, Stored& stored) {
  const OpenedVqkd opened = open_vqkd(network);
  Vqkd model = opened.model;
  EXPECT_TRUE(opened.notes.empty());
  model->to(stored.dtype());
  EXPECT_LE(deviation(scaled(stored.input("image_uint8")), stored.raw("input.image01")), 1e-7);
  const at::Tensor images = VqkdImpl::map_pixels(stored.input("image01"));
  const at::Tensor features = model->features(images), cosines = model->cosines(images);
  const at::Tensor top = std::get<0>(cosines.topk(2, -1)), ids = model->ids(images);
  const at::Tensor unit = features / at::linalg_vector_norm(features, 2, -1, true);
  return {{"pre_process", VqkdImpl::map_pixels(stored.raw("input.image01"))},
          {"encoder_patch_tokens", model->encoder->encode(images).slice(1, 1)},
          {"to_quantizer", features},
          {"to_quantizer_l2", unit},
          {"top2_cosine_margin", top.select(-1, 0) - top.select(-1, 1)},
          {"ids", ids},
          {"quantized", model->codebook.index_select(0, ids.flatten()).view({2, 4, 4, -1}).permute({0, 3, 1, 2})}};
}

// ---- Vision transformers
// ---------------------------------------------------------------------------------------------

// Pixels as the configuration beside the weights says; the references' processors round differently.
void expect_pixels(const PixelStats& stats, Stored& stored, const std::string& kind) {
  const auto channels = [](const std::vector<double>& values) {
    return torch::tensor(at::ArrayRef<double>(values), at::kDouble).view({1, 3, 1, 1});
  };
  const at::Tensor pixels = scaled(stored.raw("input." + kind + "image_uint8")).to(at::kDouble);
  EXPECT_LE(
      deviation((pixels - channels(stats.mean)) / channels(stats.std), stored.raw("input." + kind + "pixel_values")),
      2.4e-7)
      << kind;
}

// The tokens before the first block and after each, numbered from `first`.
void add_blocks(Outputs& out, Vit vit, const at::Tensor& images, const std::string& name, int64_t first) {
  vit->run_blocks(images, {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    if (block + first >= 0) out[text(name, block + first)] = tokens;
  });
}

// Class token, patches and positions, as they are before any norm.
at::Tensor embeddings(Vit vit, const at::Tensor& images) {
  at::Tensor x = vit->patches(images);
  if (vit->cls_token.defined()) x = at::cat({vit->cls_token.expand({x.size(0), 1, -1}), x}, 1);
  return vit->pos_embed.defined() ? x + vit->pos_embed : x;
}

Outputs run_timm(const fs::path& network, Stored& stored) {
  const FrozenClassifier opened = open_classifier(network);
  expect_pixels(opened.stats, stored, "");
  EXPECT_TRUE(opened.notes.empty());
  Classifier model = opened.model;
  model->to(stored.dtype());
  const at::Tensor images = stored.input("pixel_values");
  Outputs out = {{"embed", embeddings(model->vit, images)}, {"forward_features", model->vit->encode(images)}};
  add_blocks(out, model->vit, images, "block.", 0);
  if (stored.file().has("output.logits")) {
    out["pre_logits"] = model->pool(out["forward_features"]);
    out["logits"] = model->forward(images);
  }
  if (!stored.file().has("input.other_size.pixel_values")) return out;

  const FrozenClassifier again = open_classifier(network);
  Classifier large = again.model;  // tables resized in float32, as timm does when it loads them
  large->vit = resized(large->vit, 48, PositionResize::kAntialiased, BiasResize::kLinear);
  large->to(stored.dtype());
  large->vit->to(stored.dtype());
  const at::Tensor features = large->vit->encode(stored.input("other_size.pixel_values"));
  out["other_size.forward_features"] = features;
  out["other_size.pre_logits"] = large->pool(features);
  out["other_size.logits"] = large->head ? large->head(large->pool(features)) : large->pool(features);
  return out;
}

// The same weights for another program: tokens, and logits where the file has a classifier.
Outputs run_twin(const fs::path& network, Stored& stored) {
  const FrozenClassifier opened = open_classifier(network);
  expect_pixels(opened.stats, stored, "");
  Classifier model = opened.model;
  model->to(stored.dtype());
  const at::Tensor images = stored.input("pixel_values");
  Outputs out = {{"embed", embeddings(model->vit, images)}, {"forward_features", model->vit->encode(images)}};
  add_blocks(out, model->vit, images, "block.", 0);
  if (model->head) out["pre_logits"] = model->pool(out["forward_features"]);
  if (model->head) out["logits"] = model->forward(images);

  FrozenVit frozen = open_frozen_vit(network);  // without the head it is the same network
  frozen.vit->to(stored.dtype());
  EXPECT_TRUE(frozen.vit->encode(images).equal(out["forward_features"]));
  EXPECT_EQ(frozen.stats, opened.stats);
  return out;
}

// The official names alone, beside timm's configuration, which tells the heads.
Outputs run_cae(const fs::path& network, Stored& stored) {
  const TemporaryFolder folder;
  fs::copy_file(network, folder / "model.safetensors");
  fs::copy_file(network.parent_path() / "timm" / "config.json", folder / "config.json");
  if (stored.file().has("output.official_logits")) {
    Outputs out = run_twin(folder, stored);
    out["official_logits"] = out["logits"];
    return out;
  }
  FrozenVit frozen = open_frozen_vit(folder);
  EXPECT_EQ(frozen.family, "CAE encoder");
  expect_pixels(frozen.stats, stored, "");
  frozen.vit->to(stored.dtype());
  const at::Tensor images = stored.input("pixel_values");
  Outputs out = {{"embed", embeddings(frozen.vit, images)},
                 {"forward_features", frozen.vit->encode(images)},
                 {"encoder", frozen.vit->encode(images)}};
  add_blocks(out, frozen.vit, images, "block.", 0);
  return out;
}

Outputs run_transformers(const fs::path& network, Stored& stored) {
  const bool siglip = stored.file().has("output.interp.pooler_output");
  const FrozenClassifier opened = open_classifier(network);
  expect_pixels(opened.stats, stored, "");
  expect_pixels(opened.stats, stored, "interp.");
  Classifier model = opened.model;
  model->to(stored.dtype());
  const at::Tensor images = stored.input("pixel_values");
  Outputs out = {{"last_hidden_state", model->vit->encode(images)}};
  out["pooler_output"] = model->pool(out["last_hidden_state"]);
  add_blocks(out, model->vit, images, "hidden_states.", 1);

  const int64_t side = 6 * model->vit->config().patch_side;
  FrozenVit large = open_frozen_vit(network, side, PositionResize::kBySize);
  // DINOv2's reference resizes its table in float32, SigLIP's in the dtype of the run.
  if (siglip) large.vit = resized(model->vit, side, PositionResize::kBySize);
  large.vit->to(stored.dtype());
  const at::Tensor features = out["interp.last_hidden_state"] = large.vit->encode(stored.input("interp.pixel_values"));
  if (siglip) {
    out["interp.pooler_output"] = model->pool(features);
    return out;
  }
  // Hidden patches: the mask token, which the network itself does not need, in place of their embeddings.
  const at::Tensor token = to_tensor(TensorFile(network / "model.safetensors").at("embeddings.mask_token"));
  const at::Tensor hidden = stored.input("masked.bool_masked_pos").unsqueeze(-1);
  const at::Tensor painted = at::where(hidden, token.to(stored.dtype()), model->vit->patches(images));
  out["masked.last_hidden_state"] = model->vit->normalize(model->vit->run_patches(painted, {}, nullptr, nullptr));
  return out;
}

// ---- CLIP ----------------------------------------------------------------------------------------------------------

// Softmax of every query of a block, [B,H,T,T].
at::Tensor probabilities(BlockImpl& block, const at::Tensor& input) {
  std::vector<at::Tensor> rows;
  for (int64_t token = 0; token < input.size(1); ++token)
    rows.push_back(block.attn->probabilities(block.norm1(input), token));
  return at::stack(rows, 2);
}

void add_vision(Outputs& out, ClipVision tower, const at::Tensor& images) {
  Vit vit = tower->vit;
  const std::string name = "vision.";
  out[name + "patch_embed"] = vit->patches(images);
  out[name + "embeddings"] = embeddings(vit, images);
  add_blocks(out, vit, images, name + "hidden_states.", 1);
  const int64_t depth = vit->config().depth;
  out[name + "pre_ln"] = out[name + "hidden_states.0"];
  out[name + "attn_probs.last"] = probabilities(*vit->blocks->ptr<BlockImpl>(static_cast<size_t>(depth - 1)),
                                                out[text(name, "hidden_states.", depth - 1)]);
  out[name + "post_ln_all"] = vit->encode(images);
  out[name + "projected_all"] = tower->projection(out[name + "post_ln_all"]);
  out[name + "pooler_output"] = out[name + "post_ln_all"].select(1, 0);
  out[name + "image_features"] = out[name + "projected_all"].select(1, 0);
}

void add_text(Outputs& out, Clip clip, const at::Tensor& ids) {
  TextTower tower = clip.text;
  const std::string name = "text.";
  at::Tensor x = out[name + "embeddings"] = out[name + "hidden_states.0"] = tower->embed(ids);
  for (size_t i = 0; i < tower->blocks->size(); ++i)
    x = out[text(name, "hidden_states.", i + 1)] = tower->blocks->ptr<BlockImpl>(i)->forward(x);
  out[name + "final_ln"] = tower->tokens(ids);
  out[name + "pooler_output"] = tower(ids);
  out[name + "text_features"] = clip.text_projection(tower(ids));
}

at::Tensor unit_rows(const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true); }

// Larger images: transformers resizes the table in the dtype of the run and OpenCLIP, antialiased, when it loads.
void add_interpolated(Outputs& out, Clip clip, const FrozenVit& frozen, Stored& stored) {
  const bool open_clip = stored.file().has("output.interp.positional_embedding");
  Vit large = open_clip ? resized(frozen.vit, 48, PositionResize::kAntialiased)
                        : resized(clip.vision->vit, 48, PositionResize::kBySize);
  out["interp.positional_embedding"] = large->pos_embed[0].clone();
  large->to(stored.dtype());
  const at::Tensor images = stored.input("interp.pixel_values");
  out["interp.last_hidden_state"] = large->run_blocks(images, {}, nullptr, nullptr);
  out["interp.image_features"] = clip.vision->projection(large->encode(images).select(1, 0));
}

void cast(Clip& clip, at::ScalarType dtype) {
  clip.vision->to(dtype);
  clip.text->to(dtype);
  clip.text_projection->to(dtype);
  clip.logit_scale = clip.logit_scale.to(dtype);
}

// Everything that CLIP's references store; what a case does not store is dropped.
Outputs run_clip(const fs::path& network, Stored& stored) {
  Clip clip = read_clip(network);
  const FrozenVit frozen = open_frozen_vit(network);
  expect_pixels(frozen.stats, stored, "");
  expect_pixels(clip.config.stats, stored, "interp.");
  cast(clip, stored.dtype());
  const at::Tensor images = stored.input("pixel_values"), ids = stored.input("input_ids");
  EXPECT_TRUE(clip.text->end_places(ids).equal(stored.input("eot_index")));
  Outputs out;
  add_vision(out, clip.vision, images);
  add_text(out, clip, ids);
  add_interpolated(out, clip, frozen, stored);
  out["image_embeds"] = unit_rows(out["vision.image_features"]);
  out["text_embeds"] = unit_rows(out["text.text_features"]);
  out["logits_per_image"] = clip.logits(images, ids);

  Vit vit = frozen.vit;  // read without the text tower, it is the same network
  vit->to(stored.dtype());
  EXPECT_TRUE(vit->encode(images).equal(out["vision.post_ln_all"]));
  EXPECT_EQ(frozen.embed(), clip.config.embed);
  std::erase_if(out, [&](const auto& each) { return !stored.file().has("output." + each.first); });
  return out;
}

// OpenAI's own outputs, in float32; its inputs are those of the same weights under transformers' names.
Outputs run_openai(const fs::path& network, Stored& stored) {
  Clip clip = read_clip(network);
  EXPECT_EQ(clip.notes.size(), 3u);  // heads of each tower, and what follows from the family
  cast(clip, stored.dtype());
  const TensorFile inputs(golden_path("models/clip_hf/quickgelu/io.safetensors"));
  const at::Tensor images = to_tensor(inputs.at("input.pixel_values")).to(stored.dtype());
  const at::Tensor ids = to_tensor(inputs.at("input.input_ids"));
  const at::Tensor all = clip.vision->projection(clip.vision->vit->encode(images)), logits = clip.logits(images, ids);
  return {{"vision.projected_all", all},
          {"image_features", all.select(1, 0)},
          {"text_features", clip.text_projection(clip.text(ids))},
          {"logits_per_image", logits},
          {"logits_per_text", logits.t()}};
}

// What of timm's outputs comes from tables that timm resized in float32.
const std::vector<std::pair<std::string, double>> kResized = {{"other_size.", 1.6e-6}};

FrozenCase timm_case(const std::string& name) {
  return {.network = "timm/" + name + "/timm",
          .io = "timm/" + name + "/io.safetensors",
          .run = run_timm,
          .left_out = {{"official_logits", "compared with the official file"},
                       {"encoder", "compared with the official file"}},
          .looser = kResized};
}

FrozenCase twin_case(const std::string& name, const std::string& twin) {
  return {.network = "timm/" + name + "/" + twin,
          .io = "timm/" + name + "/io.safetensors",
          .run = run_twin,
          .whole = false};
}

std::vector<FrozenCase> all_cases() {
  std::vector<FrozenCase> out = {
      {"dvae/h16_v64/encoder.safetensors", "dvae/h16_v64/io.safetensors", run_dvae},
      {.network = "vqkd/vqkd.safetensors",
       .io = "vqkd/io.safetensors",
       .run = run_vqkd,
       .left_out = {{"decoded", "the decoder is for training the tokenizer"},
                    {"commit_loss", "a loss of training the tokenizer"}}},
  };
  for (const char* name : {"vit_plain", "vit_features_only", "vit_layerscale", "vit_avg_fcnorm", "vit_no_embed_class",
                           "beit_shared", "beit_unshared", "cae_encoder", "cae_finetuned"})
    out.push_back(timm_case(name));
  const std::pair<const char*, const char*> twins[] = {
      {"vit_plain", "hf_vit"},         {"vit_plain", "hf_vit_classifier"},    {"vit_features_only", "hf_vit"},
      {"vit_layerscale", "hf_dinov2"}, {"vit_avg_fcnorm", "hf_beit"},         {"vit_no_embed_class", "hf_vit"},
      {"beit_shared", "hf_beit"},      {"beit_shared", "hf_beit_classifier"}, {"beit_unshared", "hf_beit"},
      {"cae_encoder", "hf_beit"},      {"cae_encoder", "hf_dinov2"},          {"cae_finetuned", "hf_beit"}};
  for (const auto& [name, twin] : twins) out.push_back(twin_case(name, twin));
  FrozenCase folded = twin_case("vit_layerscale", "hf_vit_folded");
  folded.looser = {{"logits", 7e-8}, {"", 1e-7}};  // layer scale is folded into weights that are rounded to float32
  out.push_back(folded);
  for (const char* name : {"cae_encoder", "cae_finetuned"}) {
    const std::string folder = text("timm/", name, "/");
    out.push_back({folder + "cae_names.safetensors", folder + "io.safetensors", run_cae});
  }
  for (const char* name : {"siglip_vision", "dinov2", "dinov2_swiglu"}) {
    const std::string folder = text("hf_teachers/", name);
    out.push_back({folder, folder + "/io.safetensors", run_transformers});
  }
  for (const char* name : {"clip_hf/quickgelu", "clip_hf/gelu_realvocab", "clip_openclip/quickgelu",
                           "clip_openclip/gelu", "clip_openclip/custom_text_bias"})
    out.push_back({name, text(name, "/io.safetensors"), run_clip});
  const std::string openai = "clip_openai/quickgelu";
  out.push_back({openai, "clip_hf/quickgelu/io.safetensors", run_clip});
  out.push_back({.network = openai + "/model.safetensors",
                 .io = openai + "/openai_outputs_fp32.safetensors",
                 .run = run_openai,
                 .looser = {{"", 1e-5}}});  // a run in float32
  return out;
}

const std::vector<FrozenCase>& cases() {
  static const std::vector<FrozenCase> kCases = all_cases();
  return kCases;
}

// ---- Nothing is left out -------------------------------------------------------------------------------------------

// Files of golden/models that no case here opens, by the end of their path, each with the reason.
const std::pair<const char*, const char*> kElsewhere[] = {
    {".md", "words"},
    {".py", "tools"},
    {"timm/verification.json", "what the references deviate from each other"},
    {"names.json", "a list of what state_dict.pt holds"},
    {"shapes.json", "a list of what encoder.safetensors holds"},
    {"config_as_timm_writes_it.json", "another program's export, for comparison"},
    {"encoder.pkl", "weight_file_test: the tensors of the safetensors file beside it"},
    {"encoder_state_dict.pth", "weight_file_test: the tensors of the safetensors file beside it"},
    {"vqkd.pth", "weight_file_test: the tensors of the safetensors file beside it"},
    {"state_dict.pt", "weight_file_test: the tensors of the safetensors file beside it"},
    {"torchscript.pt", "weight_file_test: the tensors of model.safetensors, and three numbers"},
    {"timm/pos_embed_resize.safetensors", "resize_test"},
    {"timm/rel_pos_bias_resize.safetensors", "resize_test"},
    {"merges.txt", "words are cut by another layer"},
    {"vocab.json", "words are cut by another layer"},
    {"tokenizer.json", "words are cut by another layer"},
    {"tokenizer_config.json", "words are cut by another layer"},
    {"tokenizer_77.safetensors", "words are cut by another layer"}};

TEST(GoldenModels, HoldNoFileThatNoCaseOpens) {
  LACUNA_NEEDS_SHARED("golden/models");
  const fs::path root = golden_path("models");
  std::set<fs::path> opened;
  for (const FrozenCase& each : cases()) {
    const fs::path network = root / each.network;
    opened.insert(root / each.io);
    opened.insert(network);
    for (const auto& beside : fs::directory_iterator(fs::is_directory(network) ? network : network.parent_path())) {
      const std::string name = beside.path().filename().string();
      const bool weights = fs::is_directory(network) && beside.path().extension() == ".safetensors" &&
                           name != "io.safetensors" && name != "openai_outputs_fp32.safetensors";
      if (weights || name == "config.json" || name == "open_clip_config.json" || name == "preprocessor_config.json")
        opened.insert(beside.path());
    }
  }
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const std::string path = entry.path().string();
    const bool elsewhere = std::any_of(std::begin(kElsewhere), std::end(kElsewhere),
                                       [&](const auto& row) { return path.ends_with(row.first); });
    EXPECT_NE(elsewhere, opened.contains(entry.path()))
        << path << (elsewhere ? " is opened and said not to be" : " is opened by no case");
  }
  EXPECT_GT(files, 100);
}

// ---- What opening does on request ----------------------------------------------------------------------------------

TEST(OpenFrozenVit, KeepsTheStoredGridUnlessAskedForAnother) {
  LACUNA_NEEDS_SHARED("golden/models/timm/beit_unshared/timm");
  const at::NoGradGuard no_grad;
  const fs::path beit = golden_path("models/timm/beit_unshared/timm"), vit = golden_path("models/timm/vit_plain/timm");
  const FrozenVit stored = open_frozen_vit(beit), same = open_frozen_vit(beit, 32), larger = open_frozen_vit(beit, 48);
  EXPECT_EQ(stored.vit->config().grid(), 4);
  EXPECT_EQ(stored.family, "ViT or BEiT (timm)");
  EXPECT_EQ(stored.embed(), 32);
  EXPECT_EQ(stored.path, beit / "model.safetensors");
  EXPECT_FALSE(stored.vit->is_training());
  EXPECT_EQ(larger.vit->config().grid(), 6);
  const auto table = [](const FrozenVit& frozen) {
    return frozen.vit->relative_biases->ptr<RelativeBiasImpl>(1)->relative_position_bias_table;
  };
  EXPECT_TRUE(table(stored).equal(table(same)));
  EXPECT_TRUE(table(larger).equal(resize_relative_bias(table(stored), 6)));

  const at::Tensor positions = open_frozen_vit(vit).vit->pos_embed;
  for (const PositionResize how : {PositionResize::kByScale, PositionResize::kBySize, PositionResize::kAntialiased})
    EXPECT_TRUE(open_frozen_vit(vit, 48, how).vit->pos_embed.equal(resize_positions(positions, 6, how)));
  EXPECT_THROW(open_frozen_vit(vit, 50), Error);
}

TEST(OpenFrozenVit, OpensWhatThisProgramExports) {
  const at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  VitConfig config{.image_side = 32, .patch_side = 8, .width = 32, .depth = 2, .heads = 4, .hidden = 64};
  config.positions = Positions::kSinCos;
  config.qkv_bias = QkvBias::kQueryValue;
  const Backbone original = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3);
  write_backbone(folder.path(), original.vit, original.config);
  const FrozenVit opened = open_frozen_vit(folder.path());
  EXPECT_EQ(opened.family, "lacuna");
  const at::Tensor images = at::randn({2, 3, 32, 32});
  Vit a = original.vit, b = opened.vit;
  EXPECT_TRUE(a->encode(images).equal(b->encode(images)));
  EXPECT_EQ(open_frozen_vit(folder.path(), 64).vit->encode(at::randn({1, 3, 64, 64})).size(1), 65);

  // The same folder without our own configuration is timm's; the weights are the same.
  fs::remove(folder / "lacuna.json");
  FrozenVit timm = open_frozen_vit(folder.path());
  EXPECT_EQ(timm.family, "ViT or BEiT (timm)");
  EXPECT_LE(deviation(timm.vit->encode(images), a->encode(images)), 1e-5);
}

TEST(OpenFrozenVit, SaysWhatItHadToAssume) {
  const TemporaryFolder folder;
  const VitConfig config{.image_side = 32, .patch_side = 8, .width = 128, .depth = 1, .heads = 2, .hidden = 64};
  const Backbone original = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3);
  write_backbone(folder.path(), original.vit, original.config);
  for (const char* name : {"lacuna.json", "config.json"}) fs::remove(folder / name);
  const FrozenVit opened = open_frozen_vit(folder / "model.safetensors");
  EXPECT_EQ(opened.vit->config().heads, 2);
  ASSERT_EQ(opened.notes.size(), 2u);
  EXPECT_NE(opened.notes[0].find("2 assumed, one for every 64 channels"), std::string::npos) << opened.notes[0];
  EXPECT_NE(opened.notes[1].find("no config.json beside the weights"), std::string::npos) << opened.notes[1];
}

class FrozenNetworks : public ::testing::TestWithParam<FrozenCase> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/models/" + GetParam().network); }
  Ledger ledger_;
};

TEST_P(FrozenNetworks, AgreeInDoublePrecision) { compare(GetParam(), at::kDouble, ledger_); }
TEST_P(FrozenNetworks, AgreeInSinglePrecision) { compare(GetParam(), at::kFloat, ledger_); }

INSTANTIATE_TEST_SUITE_P(Models, FrozenNetworks, ::testing::ValuesIn(cases()), [](const auto& each) {
  std::string name = each.param.network;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

}  // namespace
}  // namespace lacuna
