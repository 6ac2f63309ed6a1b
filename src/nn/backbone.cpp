#include "nn/backbone.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/clip.h"
#include "nn/init.h"
#include "nn/vit_fields.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kOurConfig = "lacuna.json";
constexpr const char* kWeights = "model.safetensors";
constexpr std::size_t kMaxPointerBytes = 256;

// timm has two networks: its ViT, and its BEiT for those with a relative position bias. They name attention biases and
// layer scale differently.
bool is_beit(const VitConfig& c) { return c.relative_bias != RelativeBiasKind::kNone; }

// A network without key bias gets zeros there in a ViT; softmax cancels them.
void add_attention_names(std::vector<KeyRule>& block, const VitConfig& c) {
  const std::string attn = "blocks.{i}.attn.";
  block.push_back({{attn + "qkv.weight"}, {attn + "qkv.weight"}});
  if (is_beit(c) && c.qkv_bias == QkvBias::kQueryValue) {
    for (const std::string bias : {"q_bias", "v_bias"}) block.push_back({{attn + bias}, {attn + bias}});
  } else if (c.qkv_bias == QkvBias::kQueryValue) {
    block.push_back({{attn + "q_bias", "0", attn + "v_bias"}, {attn + "qkv.bias"}});
  } else {
    block.push_back({{attn + "qkv.bias"}, {attn + "qkv.bias"}});
  }
  if (c.relative_bias == RelativeBiasKind::kPerBlock)
    block.push_back({{"relative_biases.{i}.relative_position_bias_table"}, {attn + "relative_position_bias_table"}});
}

KeyMap timm_key_map(const VitConfig& c) {
  KeyMap map;
  map.rules.push_back({{"cls_token"}, {"cls_token"}});
  map.rules.push_back({{"pos_embed"}, {"pos_embed"}});
  map.rules.push_back({{"patch_embed.weight"}, {"patch_embed.proj.weight"}, {c.width, 3, c.patch_side, c.patch_side}});
  map.rules.push_back({{"patch_embed.bias"}, {"patch_embed.proj.bias"}});
  if (c.relative_bias == RelativeBiasKind::kShared)
    map.rules.push_back(
        {{"relative_biases.0.relative_position_bias_table"}, {"rel_pos_bias.relative_position_bias_table"}});
  map.add("norm_pre", "norm_pre");
  map.add("norm", "norm");
  std::vector<KeyRule> block;
  for (const std::string layer : {"norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"}) {
    for (const std::string leaf : {".weight", ".bias"})
      block.push_back({{"blocks.{i}." + layer + leaf}, {"blocks.{i}." + layer + leaf}});
  }
  add_attention_names(block, c);
  for (const auto& [ours, beit] : {std::pair("ls1.gamma", "gamma_1"), std::pair("ls2.gamma", "gamma_2")})
    block.push_back({{std::string("blocks.{i}.") + ours}, {std::string("blocks.{i}.") + (is_beit(c) ? beit : ours)}});
  map.add_each_block(c.depth, block);
  return map;
}

std::string why_not_timm(const VitConfig& c) {
  if (c.activation != Activation::kGelu) return "timm's ViT takes exact GELU; this network uses another activation";
  if (c.pre_norm != !c.patch_bias)
    return "timm's ViT has a norm before the blocks exactly when its patch embedding has no bias";
  if (std::abs(c.norm_eps - 1e-6) > 1e-12) return "timm's ViT normalises with epsilon 1e-6";
  if (is_beit(c) && c.qkv_bias != QkvBias::kQueryValue)
    return "timm's BEiT, which has the relative position bias, has biases on query and value only";
  if (is_beit(c) && c.pre_norm) return "timm's BEiT has no norm before the blocks";
  return "";
}

Json timm_config(const BackboneConfig& config) {
  const VitConfig& c = config.vit;
  Json arguments = {{"img_size", c.image_side},
                    {"patch_size", c.patch_side},
                    {"embed_dim", c.width},
                    {"depth", c.depth},
                    {"num_heads", c.heads},
                    {"mlp_ratio", static_cast<double>(c.hidden) / static_cast<double>(c.width)},
                    {"qkv_bias", c.qkv_bias != QkvBias::kNone},
                    {"global_pool", "token"}};
  if (is_beit(c)) {
    arguments["use_abs_pos_emb"] = c.positions != Positions::kNone;
    arguments["use_rel_pos_bias"] = c.relative_bias == RelativeBiasKind::kPerBlock;
    arguments["use_shared_rel_pos_bias"] = c.relative_bias == RelativeBiasKind::kShared;
  } else {
    arguments["class_token"] = true;
    arguments["pre_norm"] = c.pre_norm;
    if (c.positions == Positions::kNone) arguments["pos_embed"] = "none";
  }
  if (c.layer_scale) arguments["init_values"] = *c.layer_scale;
  return {{"architecture", is_beit(c) ? "beit_base_patch16_224" : "vit_base_patch16_224"},
          {"num_classes", 0},
          {"num_features", c.width},
          {"global_pool", "token"},
          {"model_args", arguments},
          {"pretrained_cfg",
           {{"input_size", {3, c.image_side, c.image_side}},
            {"fixed_input_size", true},
            {"interpolation", name_of(kKernels, config.kernel)},
            {"crop_pct", 1.0},
            {"crop_mode", "center"},
            {"mean", config.stats.mean},
            {"std", config.stats.std},
            {"num_classes", 0},
            {"first_conv", "patch_embed.proj"},
            {"classifier", "head"}}}};
}

// Fixed positions are rebuilt, yet the file carries them, because timm wants them.
NamedTensors vit_tensors(const Vit& vit) { return named_tensors(*vit, "", /*buffers=*/true); }

BackboneConfig config_from(const Json& json, const std::string& source) {
  BackboneConfig config;
  apply(Settings::from_json(json, source), config);  // a field that an older writer did not know keeps its default
  validate(config.vit);
  return config;
}

Backbone open_export(const fs::path& folder) {
  Backbone out{.config = config_from(read_json(folder / kOurConfig), (folder / kOurConfig).string()),
               .vit = nullptr,
               .origin = folder.string()};
  out.vit = Vit(out.config.vit);
  import_weights(TensorFile(folder / kWeights), timm_key_map(out.config.vit), vit_tensors(out.vit));
  return out;
}

Backbone open_checkpoint(const fs::path& folder) {
  const Json state = read_json(folder / "state.json");
  check(state.contains("backbone"), (folder / "state.json").string(),
        ": key 'backbone' is missing; not a checkpoint of a ViT");
  Backbone out{.config = config_from(state["backbone"], (folder / "state.json").string()),
               .vit = nullptr,
               .origin = folder.string()};
  out.vit = Vit(out.config.vit);
  const TensorFile file(folder / "state.safetensors");
  KeyMap map;
  for (const auto& [name, tensor] : named_tensors(*out.vit)) map.rules.push_back({{name}, {kCheckpointVit + name}});
  map.unneeded = {{"", "other parts of the training state"}};
  import_weights(file, map, named_tensors(*out.vit));
  return out;
}

Backbone open_clip(const fs::path& folder) {
  const ClipConfig clip = read_clip_config(folder);
  Backbone out{.config = {clip.vision, clip.stats, clip.kernel}, .vit = nullptr, .origin = folder.string()};
  out.vit = load_clip_vision(folder, clip)->vit;
  return out;
}

fs::path newest_checkpoint(const fs::path& run) {
  const fs::path last = run / "checkpoints" / "last";
  return fs::exists(last) ? run / "checkpoints" / read_file(last, kMaxPointerBytes) : fs::path();
}

}  // namespace

void BackboneConfig::fields(Fields& f) {
  f.add("image_side", vit.image_side, {.help = "side of the input", .unit = "pixels", .min = 1, .max = 8192});
  f.add("patch_side", vit.patch_side, {.help = "side of a patch", .unit = "pixels", .min = 1, .max = 512});
  vit_fields(f, vit);
  f.add("kernel", kernel, kKernels, {.help = "how images are brought to size"});
  f.add("mean", stats.mean, {.help = "mean of the pixels, scaled to [0, 1]"});
  f.add("std", stats.std, {.help = "standard deviation of the pixels", .min = 0, .above_min = true});
}

std::string write_backbone(const fs::path& folder, const Vit& vit, const BackboneConfig& config) {
  fs::create_directories(folder);
  std::vector<at::Tensor> keep;
  const KeyMap map = timm_key_map(config.vit);
  for (const auto& item : vit_tensors(vit)) {
    const bool written = std::any_of(map.rules.begin(), map.rules.end(), [&](const KeyRule& rule) {
      return std::find(rule.ours.begin(), rule.ours.end(), item.first) != rule.ours.end();
    });
    invariant(written, "the export has no name for ", item.first);
  }
  const NamedTensors tensors = export_weights(vit_tensors(vit), map);
  write_safetensors(folder / kWeights, to_views(tensors, keep), {{"format", "pt"}});
  const std::string reason = why_not_timm(config.vit);
  if (reason.empty()) write_json_atomic(folder / "config.json", timm_config(config));
  write_json_atomic(folder / kOurConfig, to_json(config));
  return reason;
}

Backbone open_backbone(const fs::path& named) {
  const bool is_last = fs::is_regular_file(named) && named.filename() == "last";  // the pointer beside the checkpoints
  const fs::path path = is_last ? named.parent_path() / read_file(named, kMaxPointerBytes) : named;
  check(fs::is_directory(path), path.string(),
        ": not a folder; expected a run, a checkpoint, an exported backbone or a CLIP folder");
  Backbone out;
  if (fs::exists(path / kOurConfig)) {
    out = open_export(path);
  } else if (fs::exists(path / "state.json")) {
    out = open_checkpoint(path);
  } else if (fs::exists(path / "export")) {
    out = open_backbone(path / "export");
  } else if (const fs::path newest = newest_checkpoint(path); !newest.empty()) {
    out = open_checkpoint(newest);
  } else {
    check(fs::exists(path / "config.json"), path.string(),
          ": holds none of lacuna.json (exported backbone), state.json (checkpoint), export/ or checkpoints/ (run), "
          "config.json (CLIP folder)");
    out = open_clip(path);
  }
  out.vit->eval();
  return out;
}

Backbone random_like(const Backbone& backbone, uint64_t seed) {
  Backbone out{.config = backbone.config, .vit = Vit(backbone.config.vit), .origin = "random weights"};
  initialize(*out.vit, seed, InitScheme::kCae, "student.vit");
  out.vit->eval();
  return out;
}

}  // namespace lacuna
