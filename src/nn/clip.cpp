#include "nn/clip.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kMaxConfigBytes = 16u << 20;
constexpr int64_t kMaxSize = 1 << 20;  // no width, depth or vocabulary of a real network is larger

const std::vector<std::pair<std::string, Activation>>& activation_names() {
  static const std::vector<std::pair<std::string, Activation>> kNames = {{"gelu", Activation::kGelu},
                                                                         {"quick_gelu", Activation::kQuickGelu},
                                                                         {"gelu_new", Activation::kGeluTanh},
                                                                         {"gelu_pytorch_tanh", Activation::kGeluTanh}};
  return kNames;
}

// One object of a JSON file, read key by key with messages that name the file.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    check(json_.is_object(), where_, ": expected an object");
  }

  int64_t size(const char* key, int64_t fallback) const {
    if (!json_.contains(key)) return fallback;
    const Json& value = json_[key];
    check(value.is_number_integer() && value.get<int64_t>() > 0 && value.get<int64_t>() <= kMaxSize, where_, ": key '",
          key, "' must be a positive integer up to ", kMaxSize, ", found ", value.dump());
    return value.get<int64_t>();
  }
  double number(const char* key, double fallback) const {
    if (!json_.contains(key)) return fallback;
    check(json_[key].is_number(), where_, ": key '", key, "' must be a number, found ", json_[key].dump());
    return json_[key].get<double>();
  }
  std::string word(const char* key, const char* fallback) const {
    if (!json_.contains(key)) return fallback;
    check(json_[key].is_string(), where_, ": key '", key, "' must be a word, found ", json_[key].dump());
    return json_[key].get<std::string>();
  }
  Activation activation(const char* key, const char* fallback) const {
    const std::string found = word(key, fallback);
    std::string known;
    for (const auto& [name, value] : activation_names()) {
      if (name == found) return value;
      known += (known.empty() ? "" : ", ") + name;
    }
    fail(where_, ": key '", key, "' is '", found, "'; known activations are ", known);
  }

 private:
  const Json& json_;
  std::string where_;
};

// The fallbacks are transformers' own: save_pretrained may leave out what equals them.
VitConfig read_vision(const Json& json, const std::string& where) {
  const Reader in(json, where);
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
  const Reader in(json, where);
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
  c.pool_at_largest_id = c.end_id == 2;  // the id that early configurations of transformers carry by mistake
  return c;
}

std::array<double, 3> read_channels(const Json& json, const char* key, const std::array<double, 3>& fallback,
                                    const std::string& where) {
  if (!json.contains(key)) return fallback;
  const Json& values = json[key];
  check(values.is_array() && values.size() == 3, where, ": key '", key, "' must be three numbers, found ",
        values.dump());
  std::array<double, 3> out{};
  for (size_t i = 0; i < 3; ++i) {
    check(values[i].is_number(), where, ": key '", key, "' must be three numbers, found ", values.dump());
    out[i] = values[i].get<double>();
  }
  return out;
}

// Pillow's numbering of resampling filters, which image processors store.
Kernel read_kernel(const Json& json, const std::string& where) {
  const Json found = json.value("resample", Json(3));
  check(found.is_number_integer(), where, ": key 'resample' must be an integer, found ", found.dump());
  const int64_t code = found.get<int64_t>();
  if (code == 1) return Kernel::kLanczos;
  if (code == 2) return Kernel::kBilinear;
  if (code == 3) return Kernel::kBicubic;
  if (code == 4) return Kernel::kBox;
  if (code == 5) return Kernel::kHamming;
  fail(where, ": key 'resample' must be one of 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box), 5 (hamming), found ",
       code);
}

int64_t kernel_code(Kernel kernel) {
  switch (kernel) {
    case Kernel::kLanczos:
      return 1;
    case Kernel::kBilinear:
      return 2;
    case Kernel::kBicubic:
      return 3;
    case Kernel::kBox:
      return 4;
    case Kernel::kHamming:
      return 5;
  }
  return 3;
}

void read_preprocessing(const fs::path& folder, ClipConfig& config) {
  const fs::path path = folder / "preprocessor_config.json";
  if (!fs::exists(path)) return;  // OpenAI's statistics, which every CLIPImageProcessor defaults to
  const Json json = read_json(path, kMaxConfigBytes);
  check(json.is_object(), path.string(), ": expected an object");
  config.stats.mean = read_channels(json, "image_mean", config.stats.mean, path.string());
  config.stats.std = read_channels(json, "image_std", config.stats.std, path.string());
  for (const double s : config.stats.std) check(s > 0, path.string(), ": key 'image_std' must be positive");
  config.kernel = read_kernel(json, path.string());
  const Json crop = json.value("crop_size", Json());
  const Json side = crop.is_object() ? crop.value("height", Json()) : crop;
  if (!side.is_number_integer()) return;
  check(side.get<int64_t>() == config.vision.image_side, path.string(), ": crop_size is ", side.get<int64_t>(),
        " but config.json says the network takes images of side ", config.vision.image_side);
}

std::string activation_name(Activation activation) {
  for (const auto& [name, value] : activation_names()) {
    if (value == activation) return name;
  }
  return "gelu";
}

std::vector<KeyRule> block_rules(const std::string& ours, const std::string& theirs) {
  std::vector<KeyRule> rules;
  for (const std::string leaf : {"weight", "bias"}) {
    const std::string attention = theirs + "self_attn.";
    rules.push_back({{ours + "attn.qkv." + leaf},
                     {attention + "q_proj." + leaf, attention + "k_proj." + leaf, attention + "v_proj." + leaf}});
    rules.push_back({{ours + "attn.proj." + leaf}, {attention + "out_proj." + leaf}});
    rules.push_back({{ours + "norm1." + leaf}, {theirs + "layer_norm1." + leaf}});
    rules.push_back({{ours + "norm2." + leaf}, {theirs + "layer_norm2." + leaf}});
    rules.push_back({{ours + "mlp.fc1." + leaf}, {theirs + "mlp.fc1." + leaf}});
    rules.push_back({{ours + "mlp.fc2." + leaf}, {theirs + "mlp.fc2." + leaf}});
  }
  return rules;
}

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
  Json text =
      tower_json(c.text.width, c.text.depth, c.text.heads, c.text.hidden, c.text.norm_eps, c.text.activation, c.embed);
  text.update({{"model_type", "clip_text_model"},
               {"vocab_size", c.text.vocabulary},
               {"max_position_embeddings", c.text.context},
               {"bos_token_id", c.text.end_id - 1},
               {"eos_token_id", c.text.end_id},
               {"pad_token_id", c.text.end_id}});
  return {{"architectures", {"CLIPModel"}}, {"model_type", "clip"}, {"projection_dim", c.embed},
          {"vision_config", vision},        {"text_config", text},  {"logit_scale_init_value", 2.6592}};
}

Json preprocessor_json(const ClipConfig& c) {
  const int64_t side = c.vision.image_side;
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_resize", true},
          {"size", {{"shortest_edge", side}}},
          {"resample", kernel_code(c.kernel)},
          {"do_center_crop", true},
          {"crop_size", {{"height", side}, {"width", side}}},
          {"do_convert_rgb", true},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255.0},
          {"do_normalize", true},
          {"image_mean", c.stats.mean},
          {"image_std", c.stats.std}};
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
  const Reader in(json, path.string());
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

KeyMap clip_key_map(const ClipConfig& c) {
  KeyMap map;
  const std::string vision = "vision_model.", text = "text_model.";
  map.rules.push_back({{"vision.cls_token"}, {vision + "embeddings.class_embedding"}, {c.vision.width}});
  map.rules.push_back({{"vision.pos_embed"},
                       {vision + "embeddings.position_embedding.weight"},
                       {1 + c.vision.patches(), c.vision.width}});
  map.rules.push_back({{"vision.patch_embed.weight"},
                       {vision + "embeddings.patch_embedding.weight"},
                       {c.vision.width, 3, c.vision.patch_side, c.vision.patch_side}});
  map.add("vision.norm_pre", vision + "pre_layrnorm");  // misspelt in every published file
  map.add("vision.norm", vision + "post_layernorm");
  map.add_each_block(c.vision.depth, block_rules("vision.blocks.{i}.", vision + "encoder.layers.{i}."));
  map.rules.push_back({{"vision_projection.weight"}, {"visual_projection.weight"}});
  map.rules.push_back({{"text.token_embedding"}, {text + "embeddings.token_embedding.weight"}});
  map.rules.push_back({{"text.pos_embed"}, {text + "embeddings.position_embedding.weight"}});
  map.add("text.norm", text + "final_layer_norm");
  map.add_each_block(c.text.depth, block_rules("text.blocks.{i}.", text + "encoder.layers.{i}."));
  map.rules.push_back({{"text_projection.weight"}, {"text_projection.weight"}});
  map.rules.push_back({{"logit_scale"}, {"logit_scale"}});
  map.unneeded = {{"vision_model.embeddings.position_ids", "an index table"},
                  {"text_model.embeddings.position_ids", "an index table"}};
  return map;
}

ClipVision load_clip_vision(const fs::path& folder, const ClipConfig& config) {
  const fs::path path = folder / "model.safetensors";
  check(fs::exists(path), folder.string(), ": model.safetensors is missing");
  ClipVision tower(config);
  KeyMap map = clip_key_map(config);
  for (const char* prefix : {"text_model.", "text_projection.", "logit_scale"})
    map.unneeded.emplace_back(prefix, "text side");
  import_weights(SafetensorsFile(path), map, named_tensors(*tower));
  tower->eval();
  return tower;
}

void write_clip_folder(const fs::path& folder, const ClipConfig& config, const NamedTensors& tensors) {
  const KeyMap map = clip_key_map(config);
  const NamedTensors named = export_weights(tensors, map);
  invariant(named.size() >= map.rules.size(), "CLIP export: ", named.size(), " tensors for ", map.rules.size(),
            " rules");
  fs::create_directories(folder);
  std::vector<at::Tensor> keep;
  write_safetensors(folder / "model.safetensors", to_views(named, keep), {{"format", "pt"}});
  write_json_atomic(folder / "preprocessor_config.json", preprocessor_json(config));
  write_json_atomic(folder / "config.json", config_json(config));
}

}  // namespace lacuna
