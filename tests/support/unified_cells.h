#pragma once
// The unified table's words (golden/unified/rows/cases.json) as our cells, and the official names of its weights as
// ours. A word that is not in these tables is an Error.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mim/distill.h"
#include "mim/student.h"
#include "support/golden.h"
#include "train/optimizer.h"

namespace lacuna::testing {

// ---- Words ----------------------------------------------------------------------------------------------------------

template <class T>
const T& cell(const std::map<std::string, T>& table, const std::string& word) {
  const auto found = table.find(word);
  check(found != table.end(), "cases.json says '", word, "', which this table does not know");
  return found->second;
}

// How a teacher's own files are made from rows/weights.safetensors: names behind `prefix`, without those that contain
// one of `without`, with some renamed, and a configuration for what tensors do not tell.
struct TeacherFiles {
  std::string prefix;
  std::vector<std::string> without = {};
  std::string front = {};  // put before the names
  std::pair<std::string, std::string> renamed = {};
  std::string config_file = {};
  Json config = {};
};

inline const TeacherFiles& teacher_files(const std::string& name) {
  const auto clip = [](int64_t side, int64_t patch) {
    return Json{{"model_cfg",
                 {{"embed_dim", 24},
                  {"quick_gelu", true},
                  {"vision_cfg",
                   {{"image_size", side}, {"layers", 2}, {"width", 32}, {"head_width", 16}, {"patch_size", patch}}}}}};
  };
  const Json four_heads = {{"model_args", {{"num_heads", 4}}}};
  const std::vector<std::string> beit_only = {"q_bias", "v_bias", "gamma_", "rel_pos_bias"};
  const auto with = [](std::vector<std::string> names, const char* more) {
    names.push_back(more);
    return names;
  };
  static const std::map<std::string, TeacherFiles> kTable = {
      {"clip16",
       {.prefix = "clip16.", .front = "visual.", .config_file = "open_clip_config.json", .config = clip(64, 16)}},
      {"clip14",
       {.prefix = "clip14.", .front = "visual.", .config_file = "open_clip_config.json", .config = clip(70, 14)}},
      {"previous vit, learned",
       {.prefix = "previous.",
        .without = with(beit_only, "sincos"),
        .config_file = "config.json",
        .config = four_heads}},
      {"previous vit, fixed",
       {.prefix = "previous.",
        .without = with(beit_only, ".pos_embed"),
        .renamed = {"sincos_pos_embed", "pos_embed"},
        .config_file = "config.json",
        .config = four_heads}},
      {"previous beit",
       {.prefix = "previous.",
        .without = {"qkv.bias", "pos_embed"},
        .config_file = "config.json",
        .config = four_heads}},
      {"dvae", {.prefix = "dvae."}},
      {"vqkd", {.prefix = "vqkd.", .config_file = "config.json", .config = {{"encoder", {{"num_heads", 2}}}}}}};
  return cell(kTable, name);
}

struct TeacherCell {
  TeacherConfig config;
  std::string files = {};  // of teacher_files
  std::string input = {};  // its own image among the inputs; empty shows it the student's
  bool class_token_stored = false;
  PixelStats student_stats = kImageNetStats;
};

inline TeacherCell teacher_cell(const std::string& word) {
  using enum TeacherLayer;
  const auto file = [](const char* files, TeacherLayer layer, TeacherPixels pixels = TeacherPixels::kOwn) {
    const TeacherKind kind = std::string(files).starts_with("clip") ? TeacherKind::kClip : TeacherKind::kVit;
    return TeacherCell{.config = {.kind = kind, .layer = layer, .pixels = pixels}, .files = files};
  };
  const auto at_56 = [&](PositionResize how) {
    TeacherCell out = file("clip14", kLastBlock);
    out.config.image_side = 56;
    out.config.resize = how;
    out.input = "clip14_image";
    return out;
  };
  const auto with_class = [](TeacherCell out) {
    out.class_token_stored = true;
    return out;
  };
  const auto of_clip_stats = [](TeacherCell out) {
    out.student_stats = kClipStats;
    return out;
  };
  const auto pixels = [](PixelOrder order) {
    return TeacherCell{.config = {.kind = TeacherKind::kPixels, .layout = order}};
  };
  const auto histograms = [](int64_t window) {
    return TeacherCell{.config = {.kind = TeacherKind::kHog, .hog_window = window}};
  };
  const auto average = [](int64_t top_blocks) {
    return TeacherCell{
        .config = {.kind = TeacherKind::kMomentum, .top_blocks = top_blocks, .momentum = {.start = 0.9}}};
  };
  const std::map<std::string, TeacherCell> table = {
      {"clip16 pre_ln_post", file("clip16", kLastBlock)},
      {"clip16 pre_ln_post with CLS", with_class(file("clip16", kLastBlock))},
      {"clip16 pre_ln_post, pixels not renormalised", file("clip16", kLastBlock, TeacherPixels::kStudent)},
      {"clip16 ln_post", file("clip16", kNormed)},
      {"clip16 ln_post with CLS", with_class(file("clip16", kNormed))},
      {"clip16 ln_post_proj", file("clip16", kProjected)},
      {"clip16 ln_post_proj, ImageNet-normalised pixels",
       with_class(file("clip16", kProjected, TeacherPixels::kStudent))},
      {"clip16 ln_post_proj; student and teacher share the input statistics",
       of_clip_stats(file("clip16", kProjected))},
      {"clip16 raw_proj", file("clip16", kRawProjected)},
      {"clip14 pre_ln_post on clip14_image, positions resized by factor (n+0.1)/m", at_56(PositionResize::kByScale)},
      {"clip14 pre_ln_post on clip14_image, positions resized by size", at_56(PositionResize::kBySize)},
      {"previous (vit blocks, learned positions), last block output", file("previous vit, learned", kLastBlock)},
      {"previous (vit blocks, learned positions), final norm", file("previous vit, learned", kNormed)},
      {"previous (beit blocks, shared rel-pos bias), last block output", file("previous beit", kLastBlock)},
      {"previous (beit blocks, shared rel-pos bias), final norm", file("previous beit", kNormed)},
      {"previous (vit blocks, fixed positions), last block output with CLS",
       with_class(file("previous vit, fixed", kLastBlock))},
      {"pixels (row, column, colour)", pixels(PixelOrder::kRowColumnColor)},
      {"pixels (row, column, colour), standardised per patch", pixels(PixelOrder::kRowColumnColor)},
      {"pixels of large_image", pixels(PixelOrder::kColorRowColumn)},
      {"hog of the image (9 bins, 8-pixel cells, window 0)", histograms(0)},
      {"hog of the image (9 bins, 8-pixel cells, window 16)", histograms(16)},
      {"dvae ids (dvae_image01)", {.config = {.kind = TeacherKind::kDvae}, .files = "dvae", .input = "dvae_image01"}},
      {"vqkd ids (image01)", {.config = {.kind = TeacherKind::kVqkd}, .files = "vqkd", .input = "image01"}},
      {"EMA of the student (starts equal), intact image, all block outputs", average(2)},
      {"EMA of the student and head (start equal), intact views", average(0)}};
  return cell(table, word);
}

inline NormalizeConfig normalize_cell(const std::string& word) {
  static const std::map<std::string, NormalizeConfig> kTable = {
      {"identity", {.kind = NormalizeKind::kKeep}},
      {"argmax id", {.kind = NormalizeKind::kKeep}},
      {"layer_norm", {.kind = NormalizeKind::kLayerNorm}},
      {"layer_norm_unbiased", {.kind = NormalizeKind::kLayerNorm, .unbiased = true}},
      {"layer_norm_eps1e-5", {.kind = NormalizeKind::kLayerNorm, .eps = 1e-5}},
      {"batch_norm", {.kind = NormalizeKind::kBatchNorm}},
      {"batch_scalar", {.kind = NormalizeKind::kBatchScalar, .unbiased = true}},
      {"instance_norm", {.kind = NormalizeKind::kInstanceNorm}},
      {"l2", {.kind = NormalizeKind::kUnit}},
      {"(x - centre) / temperature, softmax", {.kind = NormalizeKind::kCenterSharpen, .momentum = 0.9}}};
  return cell(kTable, word);
}

inline LossConfig loss_cell(const std::string& word) {
  static const std::map<std::string, LossConfig> kTable = {
      {"smooth_l1_beta1", {.kind = LossKind::kSmoothL1, .beta = 1}},
      {"smooth_l1_beta2", {.kind = LossKind::kSmoothL1, .beta = 2}},
      {"mse", {.kind = LossKind::kL2}},
      {"l1", {.kind = LossKind::kL1}},
      {"sum |d| over masked pixels and colours / (masked pixels + 1e-5) / 3", {.kind = LossKind::kL1}},
      {"one_minus_cosine", {.kind = LossKind::kCosine}},
      {"two_minus_two_cosine", {.kind = LossKind::kCosine}},  // with a weight of two
      {"neg_cosine", {.kind = LossKind::kNegativeCosine}},
      {"cross_entropy", {.kind = LossKind::kCrossEntropy}},
      {"soft cross entropy", {.kind = LossKind::kSoftCrossEntropy}}};
  return cell(kTable, word);
}

inline RegionKind region_cell(const std::string& word) {
  static const std::map<std::string, RegionKind> kTable = {
      {"masked", RegionKind::kMasked},
      {"masked+cls", RegionKind::kMaskedAndClass},
      {"all", RegionKind::kPatches},
      {"all+cls", RegionKind::kAll},
      {"masked, divided per image; plus CLS across views", RegionKind::kMasked}};  // and a second objective
  return cell(kTable, word);
}

inline VitConfig student_vit(const Json& student, int64_t image_side) {
  static const std::map<std::string, Positions> kPositions = {
      {"none", Positions::kNone}, {"ape", Positions::kLearned}, {"sincos", Positions::kSinCosColumns}};
  static const std::map<std::string, RelativeBiasKind> kBiases = {
      {"none", RelativeBiasKind::kNone}, {"shared", RelativeBiasKind::kShared}, {"block", RelativeBiasKind::kPerBlock}};
  static const std::map<std::string, QkvBias> kBlocks = {{"beit", QkvBias::kQueryValue}, {"vit", QkvBias::kAll}};
  VitConfig c;
  c.image_side = image_side;
  c.patch_side = 16;
  c.width = 48;
  c.depth = 2;
  c.heads = 4;
  c.hidden = 192;
  c.qkv_bias = cell(kBlocks, student.at("block"));
  if (student.at("layer_scale")) c.layer_scale = 0.1;
  c.positions = cell(kPositions, student.at("position"));
  c.relative_bias = cell(kBiases, student.at("rel_pos_bias"));
  return c;
}

// "head", "completer and head" or "completer over ... and head".
inline CompleterConfig completer_cell(const std::string& head) {
  CompleterConfig c{.depth = 1, .width = 32, .heads = 4};
  if (head.starts_with("decoder")) c.kind = CompleterKind::kDecoder;
  if (head.starts_with("prompting decoder")) c.kind = CompleterKind::kPrompting;
  return c;
}

inline HeadConfig head_cell(const std::string& word) {
  if (word.starts_with("head.ibot"))
    return {.kind = HeadKind::kProjection, .depth = 3, .hidden = 64, .bottleneck = 16, .prototypes = 40};
  return {.kind = HeadKind::kLinear, .norm = false};
}

inline AdamWConfig optimizer_cell(const Json& row) {
  const Json& o = row.at("optimizer");
  AdamWConfig c{.weight_decay = o.at("wd"),
                .beta1 = o.at("betas").at(0),
                .beta2 = o.at("betas").at(1),
                .eps = o.at("eps"),
                .clip = o.at("clip").is_null() ? 0.0 : o.at("clip").get<double>(),
                .no_decay = o.at("skip").get<std::vector<std::string>>()};
  if (row.contains("clip")) {
    check(row.at("clip") == "per parameter tensor", "cases.json: unknown clip ", row.at("clip").dump());
    c.clip_scope = ClipScope::kTensor;
  }
  return c;
}

// The name of the head's weights: "head.linear32" in "decoder + head.linear32 as ...".
inline std::string official_head(const std::string& word) {
  const std::string name = word.substr(word.find("head."));
  return name.substr(0, name.find(' '));
}

// ---- Names ----------------------------------------------------------------------------------------------------------

// Our name -> the official one, of everything that a row may hold.
inline std::map<std::string, std::string> official_unified_names(const std::string& head) {
  const auto block = [](const std::string& ours, const std::string& theirs, bool prompting) {
    std::vector<KeyRule> rules = {{{ours + "ls1.gamma"}, {theirs + "gamma_1"}},
                                  {{ours + "ls2.gamma"}, {theirs + "gamma_2"}}};
    for (const char* leaf : {"attn.q_bias", "attn.v_bias"}) rules.push_back({{ours + leaf}, {theirs + leaf}});
    std::vector<std::pair<std::string, std::string>> layers;
    for (const char* same : {"attn.qkv", "attn.proj", "norm1", "norm2", "mlp.fc1", "mlp.fc2"})
      layers.emplace_back(same, same);
    if (prompting) layers.insert(layers.end(), {{"q", "attn.q"}, {"kv", "attn.kv"}, {"proj", "attn.proj"}});
    for (const auto& [mine, other] : layers) {
      for (const char* leaf : {".weight", ".bias"}) rules.push_back({{ours + mine + leaf}, {theirs + other + leaf}});
    }
    return rules;
  };
  const std::string vit = "student.vit.", table = "relative_position_bias_table";
  KeyMap map;
  map.rules = {{{"student.mask_token"}, {"student.mask_token"}},
               {{vit + "cls_token"}, {"student.cls_token"}},
               {{vit + "pos_embed"}, {"student.pos_embed"}},
               {{"student.completer.mask_token"}, {"decoder.mask_token"}},
               {{"student.completer.positions"}, {"decoder.sincos_pos_embed"}},
               {{"objective.patches.head.weight_v"}, {head + ".last_layer.weight_v"}},
               {{"objective.patches.head.weight_g"}, {head + ".last_layer.weight_g"}}};
  map.add(vit + "patch_embed", "student.patch_embed.proj");
  map.add(vit + "norm", "student.norm");
  map.add("student.completer.embed", "decoder.embed");
  map.add("student.completer.norm", "decoder.norm");
  map.add("objective.target.head.proj", head);
  for (const int i : {0, 1, 2}) map.add(text("objective.patches.head.mlp.layer", i), text(head, ".mlp.", 2 * i));
  map.add_each_block(2, block(vit + "blocks.{i}.", "student.blocks.{i}.", false));
  map.add_each_block(1, block("student.aggregation_blocks.{i}.", "student.cls_pt_layers.{i}.", false));
  map.add_each_block(1, block("student.completer.blocks.{i}.", "decoder.blocks.{i}.", true));
  map.add_each_block(2, {{{vit + "relative_biases.{i}." + table}, {"student.blocks.{i}.attn." + table}}});
  std::map<std::string, std::string> out;
  for (const KeyRule& rule : map.rules) out[rule.ours.at(0)] = rule.theirs.at(0);
  return out;
}

}  // namespace lacuna::testing
