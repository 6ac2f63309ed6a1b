#include "nn/clip.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/json_reader.h"
#include "nn/weights/preprocessing.h"
#include "nn/weights/vit_names.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kOldEndId = 2;  // that early configurations of transformers carry by mistake

// The fallbacks are transformers' own: save_pretrained may leave out what equals them.
VitConfig read_vision(const Json& json, const std::string& where) {
  const JsonReader in(json, where);
  VitConfig c;
  c.image_side = in.size("image_size", 224);
  c.patch_side = in.size("patch_size", 32);
  c.width = in.size("hidden_size", 768);
  c.depth = in.size("num_hidden_layers", 12);
  c.heads = in.size("num_attention_heads", 12);
  c.hidden = in.size("intermediate_size", 3072);
  c.norm_eps = in.number("layer_norm_eps", 1e-5);
  c.activation = in.activation("hidden_act", "quick_gelu");
  check(in.size("num_channels", 3) == 3, where, ": only images of 3 channels are supported, found ",
        in.size("num_channels", 3));
  check(c.image_side % c.patch_side == 0, where, ": image_size ", c.image_side, " is not a multiple of patch_size ",
        c.patch_side);
  check(c.width % c.heads == 0, where, ": hidden_size ", c.width, " is not divisible into num_attention_heads ",
        c.heads);
  VitConfig tower = clip_vision(c, c.activation);
  tower.norm_eps = c.norm_eps;
  validate(tower);
  return tower;
}

TextConfig read_text(const Json& json, const std::string& where) {
  const JsonReader in(json, where);
  TextConfig c;
  c.vocabulary = in.size("vocab_size", 49408);
  c.context = in.size("max_position_embeddings", 77);
  c.width = in.size("hidden_size", 512);
  c.depth = in.size("num_hidden_layers", 12);
  c.heads = in.size("num_attention_heads", 8);
  c.hidden = in.size("intermediate_size", 2048);
  c.norm_eps = in.number("layer_norm_eps", 1e-5);
  c.activation = in.activation("hidden_act", "quick_gelu");
  c.end_id = in.size("eos_token_id", 49407);
  check(c.width % c.heads == 0, where, ": hidden_size ", c.width, " is not divisible into num_attention_heads ",
        c.heads);
  check(c.end_id < c.vocabulary, where, ": eos_token_id ", c.end_id, " is outside the vocabulary of ", c.vocabulary);
  c.pool_at_largest_id = c.end_id == kOldEndId;
  return c;
}

void read_preprocessing(const fs::path& folder, ClipConfig& config) {
  const fs::path path = folder / "preprocessor_config.json";
  if (!fs::exists(path)) return;  // OpenAI's statistics, which every CLIPImageProcessor defaults to
  const Json json = read_json(path, kMaxConfigBytes);
  const Preprocessing found =
      read_processor(JsonReader(json, path.string()), {.stats = config.stats, .kernel = config.kernel});
  config.stats = found.stats;
  config.kernel = found.kernel;
  const Json crop = json.value("crop_size", Json());
  const Json side = crop.is_object() ? crop.value("height", Json()) : crop;
  if (!side.is_number_integer()) return;
  check(side.get<int64_t>() == config.vision.image_side, path.string(), ": crop_size is ", side.get<int64_t>(),
        " but config.json says the network takes images of side ", config.vision.image_side);
}

// The tables call a Vit's tensors "vit." and "projection."; a CLIP's are "vision." and "vision_projection.".
void rename_vision(KeyMap& map) {
  for (KeyRule& rule : map.rules) {
    for (std::string& name : rule.ours) {
      if (name.starts_with("vit.")) name = "vision." + name.substr(4);
      if (name.starts_with("projection.")) name = "vision_" + name;
    }
  }
}

bool is_openai(ClipNames names) { return names != ClipNames::kTransformers; }

Json tower_json(int64_t width, int64_t depth, int64_t heads, int64_t hidden, double eps, Activation activation,
                int64_t embed) {
  return {{"hidden_size", width},        {"num_hidden_layers", depth}, {"num_attention_heads", heads},
          {"intermediate_size", hidden}, {"layer_norm_eps", eps},      {"hidden_act", activation_name(activation)},
          {"projection_dim", embed},     {"attention_dropout", 0.0}};
}

Json config_json(const ClipConfig& c) {
  const VitConfig& v = c.vision;
  Json vision = tower_json(v.width, v.depth, v.heads, v.hidden, v.norm_eps, v.activation, c.embed);
  vision.update({{"model_type", "clip_vision_model"},
                 {"image_size", v.image_side},
                 {"patch_size", v.patch_side},
                 {"num_channels", 3}});
  const bool old_end = c.text.end_id == kOldEndId;
  Json text =
      tower_json(c.text.width, c.text.depth, c.text.heads, c.text.hidden, c.text.norm_eps, c.text.activation, c.embed);
  text.update({{"model_type", "clip_text_model"},
               {"vocab_size", c.text.vocabulary},
               {"max_position_embeddings", c.text.context},
               {"bos_token_id", (old_end ? c.text.vocabulary : c.text.end_id + 1) - 2},
               {"eos_token_id", c.text.end_id},
               {"pad_token_id", old_end ? 1 : c.text.end_id}});
  return {{"architectures", {"CLIPModel"}}, {"model_type", "clip"}, {"projection_dim", c.embed},
          {"vision_config", vision},        {"text_config", text},  {"logit_scale_init_value", 2.6592}};
}

}  // namespace

ClipVisionImpl::ClipVisionImpl(const ClipConfig& config)
    : vit(register_module("vision", Vit(config.vision))),
      projection(register_module("vision_projection", Linear(config.vision.width, config.embed, /*bias=*/false))) {}

VitConfig clip_vision(VitConfig c, Activation activation) {
  c.activation = activation;
  c.qkv_bias = QkvBias::kAll;
  c.positions = Positions::kLearned;
  c.patch_bias = false;
  c.pre_norm = true;
  c.layer_scale.reset();
  c.norm_eps = 1e-5;
  return c;
}

ClipConfig read_clip_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  check(fs::exists(path), folder.string(), ": not a CLIP folder: config.json is missing (expected the files that ",
        "CLIPModel.save_pretrained writes: config.json and model.safetensors)");
  const Json json = read_json(path, kMaxConfigBytes);
  const JsonReader in(json, path.string());
  check(in.word("model_type", "none") == "clip", path.string(), ": expected model_type 'clip', found '",
        printable(in.word("model_type", "none")), "'");
  check(json.contains("vision_config") && json.contains("text_config"), path.string(),
        ": expected the keys vision_config and text_config");
  ClipConfig config;
  config.vision = read_vision(json["vision_config"], path.string() + ": vision_config");
  config.text = read_text(json["text_config"], path.string() + ": text_config");
  config.embed = in.size("projection_dim", 512);
  read_preprocessing(folder, config);
  return config;
}

KeyMap clip_key_map(const ClipConfig& c, ClipNames names) {
  KeyMap map;
  const Family& vision = is_openai(names) ? openai_clip_family() : clip_family();
  add_rows(map, vision.rows, vision.prefixes[0], c.vision, c.vision.depth);
  rename_vision(map);
  const std::string text_prefix = names == ClipNames::kCustomText ? "text." : "";
  add_rows(map, is_openai(names) ? openai_clip_text_rows() : clip_text_rows(), text_prefix, c.vision, c.text.depth);
  if (!c.vision.layer_scale)
    std::erase_if(map.rules, [](const KeyRule& rule) { return rule.ours[0].ends_with(".gamma"); });
  map.rules.push_back({{"logit_scale"}, {"logit_scale"}});
  if (c.logit_bias) map.rules.push_back({{"logit_bias"}, {"logit_bias"}});
  map.unneeded = {{"vision_model.embeddings.position_ids", "an index table"},
                  {"text_model.embeddings.position_ids", "an index table"},
                  {"input_resolution", "a number of the archive"},
                  {"context_length", "a number of the archive"},
                  {"vocab_size", "a number of the archive"},
                  {"attn_mask", "the causal mask"},
                  {"text.attn_mask", "the causal mask"}};
  return map;
}

ClipVision load_clip_vision(const fs::path& folder, const ClipConfig& config) {
  const fs::path path = folder / "model.safetensors";
  check(fs::exists(path), folder.string(), ": model.safetensors is missing");
  const TensorFile file(path);
  check_plausible(file, about_parameters(config.vision), "the sizes in config.json");
  ClipVision tower(config);
  KeyMap map = clip_key_map(config);
  for (const char* prefix : {"text_model.", "text_projection.", "logit_scale"})
    map.unneeded.emplace_back(prefix, "text side");
  import_weights(file, map, named_tensors(*tower));
  tower->eval();
  return tower;
}

std::string why_not_clip(const VitConfig& v) {
  if (!v.pre_norm || v.patch_bias) return "CLIP's vision tower has a norm before the blocks and no bias on the patches";
  if (v.positions != Positions::kLearned || v.relative_bias != RelativeBiasKind::kNone)
    return "CLIP's vision tower has learned positions and no relative bias";
  if (v.layer_scale) return "CLIP's vision tower has no layer scale";
  if (v.channels != 3) return "a CLIP is read with images of three channels";
  return "";
}

std::string why_not_clip(const TextConfig& words) {
  return words.causal ? "" : "transformers' CLIP reads captions from left to right, each word seeing those before it";
}

void write_clip_folder(const fs::path& folder, const ClipConfig& config, const NamedTensors& tensors,
                       at::ScalarType dtype) {
  const KeyMap map = clip_key_map(config);
  const NamedTensors named = export_weights(tensors, map);
  invariant(named.size() >= map.rules.size(), "CLIP export: ", named.size(), " tensors for ", map.rules.size(),
            " rules");
  fs::create_directories(folder);
  write_weights(folder / "model.safetensors", named, dtype);
  write_json_atomic(folder / "preprocessor_config.json", processor_json({.name = "CLIPImageProcessor",
                                                                         .crops = true,
                                                                         .resized = 0,
                                                                         .side = config.vision.image_side,
                                                                         .stats = config.stats,
                                                                         .kernel = config.kernel}));
  write_json_atomic(folder / "config.json", config_json(config));
}

}  // namespace lacuna
