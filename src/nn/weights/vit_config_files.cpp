#include "nn/weights/vit_config_files.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/join.h"
#include "io/files.h"
#include "nn/weights/natural_activation.h"
#include "nn/weights/timm_architectures.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// A setting that is not among `known` may change what the network computes, unless it is switched off.
void refuse_unknown(const JsonReader& in, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : in.json().items()) {
    const bool off = value.is_null() || value == false || value == 0 || value == "";
    check(off || std::find(known.begin(), known.end(), key) != known.end(), in.where(), ": key '", printable(key),
          "' is ", printable(value.dump()), ", which is not understood; the network may compute something else");
  }
}

double read_eps(const JsonReader& in, const char* key, double fallback) {
  const double eps = in.number(key, fallback);
  check(eps > 0 && eps < 1, in.where(), ": key '", key, "' must be between 0 and 1, found ", eps);
  return eps;
}

std::string path_name(const fs::path& folder) { return fs::absolute(folder).lexically_normal().string(); }

PixelStats unknown_stats(int64_t channels) {
  if (channels == 3) return {};
  const std::vector<double> half(static_cast<size_t>(channels), 0.5);
  return {.mean = half, .std = half};
}

class Describer {
 public:
  Describer(const TensorFile& file, const NamedVit& named, const VitMeasures& measures,
            std::optional<Activation> activation)
      : file_(file),
        folder_(folder_of(file)),
        family_(*named.family),
        asked_(activation),
        name_(path_name(folder_)),
        out_{.measures = measures, .pixels = {}, .notes = {}} {
    out_.pixels.stats = measures.vit.channels == 3 ? family_.stats : unknown_stats(measures.vit.channels);
  }

  DescribedVit run() {
    switch (family_.config) {
      case ConfigKind::kTransformers:
        from_file("config.json", [this](const JsonReader& in) { transformers(in); });
        break;
      case ConfigKind::kTimm:
        from_file("config.json", [this](const JsonReader& in) { timm(in); });
        break;
      case ConfigKind::kOpenClip:
      case ConfigKind::kOpenClipTimm:
        from_file("open_clip_config.json", [this](const JsonReader& in) { open_clip(in); });
        break;
    }
    check(vit().image_side > 0, folder_.string(), ": neither a position table nor a configuration tells the size of ",
          "the images; expected the side in config.json");
    const bool placed =
        vit().positions != Positions::kNone || vit().relative_bias != RelativeBiasKind::kNone || vit().rotary_grid;
    check(placed || says_none_, file_.path().string(), ": looks like ", family_.name,
          ", but has no positions of any kind that are known; its network would not know where its patches are");
    settle_activation();
    settle_pixels();
    return std::move(out_);
  }

 private:
  VitConfig& vit() { return out_.measures.vit; }
  void note(const std::string& text_of_note) { out_.notes.push_back(text_of_note); }

  template <class Read>
  void from_file(const char* name, Read read) {
    const fs::path path = folder_ / name;
    if (fs::exists(path)) {
      const Json json = read_json(path, kMaxConfigBytes);
      const JsonReader in(json, path.string());
      name_ += " " + in.word("_name_or_path", "");
      read(in);
    } else {
      assume(name);
    }
  }

  // No configuration at all.
  void assume(const char* missing) {
    VitConfig& c = vit();
    if (c.heads == 0) assume_heads(folder_.string());
    c.norm_eps = family_.norm_eps;
    if (c.activation != Activation::kSwiGlu) {
      c.activation = JsonReader(Json::object(), "").activation("", family_.activation);
    } else if (c.qkv_bias == QkvBias::kQueryValue && c.positions == Positions::kLearned) {
      c.rotary_grid = timm_architecture("eva02_").rotary_grid;
      note(text("taken for EVA-02, whose rotary positions span a grid of side ", *c.rotary_grid));
    }
    silent_ = true;
    note(text("no ", missing, " beside the weights: activation, epsilon ", c.norm_eps,
              " and the statistics of pixels are those usual in the family ", family_.name));
  }

  void assume_heads(const std::string& where) {
    const auto usual = std::find_if(family_.heads.begin(), family_.heads.end(),
                                    [this](const auto& row) { return row.first == vit().width; });
    const bool of_family = usual != family_.heads.end();
    const int64_t heads = of_family ? usual->second : unusual_heads(vit().width);
    if (heads > 0) {
      vit().heads = heads;
      note(text("nothing tells the number of heads: ", heads, " assumed, as published networks of this width ",
                of_family ? "and family " : "", "have"));
    } else {
      vit().heads = assumed_heads(vit().width, where, out_.notes);
    }
  }

  // What the weights were trained with against what the configuration says.
  void settle_activation() {
    VitConfig& c = vit();
    if (c.activation == Activation::kSwiGlu) {
      check(!asked_, file_.path().string(), ": the network's MLPs are gated; no other activation can be asked for");
      return;
    }
    if (asked_ && *asked_ != c.activation)
      note(text("activation ", activation_name(*asked_), " as asked for, not ", activation_name(c.activation)));
    if (asked_) c.activation = *asked_;
    const bool clip = family_.stats == kClipStats && c.pre_norm;
    if (asked_ || silent_ || !clip) return;
    const auto natural = natural_activation(file_, name_);
    check(!natural || natural->activation == c.activation, folder_.string(), ": the configuration says ",
          activation_name(c.activation), ", but ", natural ? natural->why : "",
          "; correct the configuration, or tell a teacher which is right by objective.N.teacher.activation=gelu or "
          "quick_gelu");
    if (!natural && c.activation == Activation::kGelu && half_converted(file_))
      note(
          "half-precision layers beside single-precision norms, as OpenAI stores its CLIPs: if these are OpenAI's "
          "weights, quick_gelu is right and not gelu");
  }

  // The images that the processor makes against those that the network takes.
  void settle_pixels() {
    Preprocessing& pixels = out_.pixels;
    const int64_t side = vit().image_side;
    if (pixels.side > 0 && pixels.side / vit().patch_side != vit().grid()) {
      check(family_.any_side, folder_.string(), ": its images are brought to ", pixels.side,
            " pixels, but the network takes ", side, "; correct the configuration that is wrong");
      note(text("its processor makes images of ", pixels.side, " pixels and resizes the positions; ", side,
                " are used unless another side is asked for"));
    }
    pixels.framing = scaled(pixels.framing, pixels.side, side);
    pixels.side = side;
  }

  void set_heads(const JsonReader& in, const char* key, int64_t fallback) {
    VitConfig& c = vit();
    const int64_t in_table = c.heads;
    c.heads = in_table == 0 ? in.size(key, fallback) : in_table;
    if (in_table > 0) in.confirm(key, in_table);
    check(c.width % c.heads == 0, in.where(), ": width ", c.width, " is not divisible into ", c.heads, " heads");
  }

  // The grid that a configuration's side makes must be that of the tables; without tables it is the grid.
  void set_side(const JsonReader& in, const char* key) {
    VitConfig& c = vit();
    const int64_t side = read_side(in, key);
    if (side == 0) return;
    const int64_t grid = side / c.patch_side;
    check(grid > 0 && (c.image_side == 0 || grid == c.grid()), in.where(), ": key '", key, "' is ", side,
          ", which patches of ", c.patch_side, " cut into a grid of side ", grid, ", but the tensors are of side ",
          c.image_side == 0 ? 0 : c.grid());
    c.image_side = grid * c.patch_side;
    if (c.image_side != side)
      note(text("images of ", side, " pixels lose a rim that no patch covers: ", c.image_side, " are used"));
  }

  void set_activation(const JsonReader& in, const char* key) {
    const Activation named = in.activation(key, family_.activation);
    if (vit().activation != Activation::kSwiGlu) vit().activation = named;  // transformers calls SwiGLU "gelu", too
  }

  void transformers(const JsonReader& whole) {
    const std::string type = whole.word("model_type", "");
    const std::vector<std::string>& known = family_.model_types;
    check(type.empty() || std::find(known.begin(), known.end(), type) != known.end(), whole.where(),
          ": key 'model_type' is '", printable(type), "', which bears the names of ", family_.name,
          " but may compute something else; known are ", joined(known));
    const JsonReader in = whole.has("vision_config") ? whole.object("vision_config") : whole;
    VitConfig& c = vit();
    in.confirm("hidden_size", c.width);
    in.confirm("num_hidden_layers", c.depth);
    in.confirm("patch_size", c.patch_side);
    in.confirm("num_channels", c.channels);
    if (out_.measures.embed > 0) whole.confirm("projection_dim", out_.measures.embed);
    if (c.registers > 0) in.confirm("num_register_tokens", c.registers);
    confirm_classes(whole, "id2label");
    if (c.activation != Activation::kSwiGlu) in.confirm("intermediate_size", c.hidden);
    set_heads(in, "num_attention_heads", 12);  // transformers' default in all of these families
    says_none_ = in.json().value("use_absolute_position_embeddings", Json()) == false;
    set_side(in, "image_size");
    set_activation(in, "hidden_act");
    for (const char* key : {"layer_scale_init_value", "layerscale_value"}) {  // BEiT's and DINOv2's
      if (c.layer_scale && in.has(key) && in.number(key, 1) > 0) c.layer_scale = in.number(key, 1);
    }
    c.norm_eps = read_eps(in, "layer_norm_eps", family_.norm_eps);
    const fs::path path = folder_ / "preprocessor_config.json";
    if (!fs::exists(path)) return note("no preprocessor_config.json: statistics of pixels usual in the family");
    const Json json = read_json(path, kMaxConfigBytes);
    out_.pixels = read_processor(JsonReader(json, path.string()), out_.pixels);
  }

  void timm(const JsonReader& whole) {
    const Json none = Json::object();
    const JsonReader in = whole.has("model_args") ? whole.object("model_args") : JsonReader(none, whole.where());
    refuse_unknown(in, {"img_size",
                        "patch_size",
                        "in_chans",
                        "num_classes",
                        "global_pool",
                        "embed_dim",
                        "depth",
                        "num_heads",
                        "mlp_ratio",
                        "qkv_bias",
                        "init_values",
                        "class_token",
                        "no_embed_class",
                        "pos_embed",
                        "pre_norm",
                        "fc_norm",
                        "final_norm",
                        "act_layer",
                        "use_abs_pos_emb",
                        "use_rel_pos_bias",
                        "use_shared_rel_pos_bias",
                        "head_init_scale",
                        "drop_rate",
                        "pos_drop_rate",
                        "proj_drop_rate",
                        "attn_drop_rate",
                        "drop_path_rate",
                        "weight_init",
                        "dynamic_img_size",
                        "dynamic_img_pad",
                        "pretrained_cfg",
                        "window_size",
                        "fix_init",
                        "reg_tokens",
                        "num_reg_tokens",
                        "qkv_fused",
                        "swiglu_mlp",
                        "scale_mlp",
                        "scale_attn_inner",
                        "use_rot_pos_emb",
                        "ref_feat_shape",
                        "use_fc_norm",
                        "use_pre_transformer_norm",
                        "use_post_transformer_norm"});
    VitConfig& c = vit();
    in.confirm("embed_dim", c.width);
    in.confirm("depth", c.depth);
    in.confirm("patch_size", c.patch_side);
    in.confirm("in_chans", vit().channels);
    for (const char* key : {"reg_tokens", "num_reg_tokens"}) {
      if (c.registers > 0) in.confirm(key, c.registers);
    }
    check(in.flag("class_token", c.class_token) == c.class_token, in.where(), ": key 'class_token' is ", !c.class_token,
          ", but the tensors say ", c.class_token);
    const Json& arguments = in.json();
    says_none_ = arguments.value("pos_embed", Json()) == "none" || arguments.value("use_abs_pos_emb", Json()) == false;
    set_side(in, "img_size");
    architecture(whole.word("architecture", ""), in);
    confirm_classes(whole, "num_classes");
    if (in.number("init_values", 0) > 0 && c.layer_scale) c.layer_scale = in.number("init_values", 1);
    timm_pool(in.word("global_pool", whole.word("global_pool", "").c_str()), in.where());
    if (!whole.has("pretrained_cfg")) return note("no pretrained_cfg: statistics of pixels are ImageNet's");
    const JsonReader pixels = whole.object("pretrained_cfg");
    if (c.image_side == 0) set_side(pixels, "input_size");
    read_pixels(pixels);
    if (c.activation == Activation::kGelu && pixels.word("tag", "") == "openai")
      note(
          "OpenAI trained these weights with quick_gelu; timm runs this architecture with gelu, and so does this "
          "program unless quick_gelu is asked for");
  }

  void read_pixels(const JsonReader& in) {
    out_.pixels.side = vit().image_side;
    const bool timm = family_.config == ConfigKind::kTimm;
    out_.pixels = read_named_preprocessing(in, out_.pixels, timm ? kTimmCropPct : kOpenClipCropPct);
  }

  // The name of the architecture stands for what model_args leaves out.
  void architecture(const std::string& name, const JsonReader& in) {
    const TimmArchitecture known = timm_architecture(name);
    check(known.why_not.empty(), in.where(), ": the architecture '", printable(name), "' is not read: ", known.why_not);
    VitConfig& c = vit();
    if (in.has("num_heads") || c.heads > 0 || known.heads > 0) {
      set_heads(in, "num_heads", known.heads);
    } else {
      check(known.usual_heads || name.empty(), in.where(), ": neither 'num_heads' nor the architecture '",
            printable(name), "' tells the number of heads; write num_heads into model_args");
      check(name.empty() || c.width % 64 == 0, in.where(), ": architectures like '", printable(name),
            "' have one head for every 64 channels, and width ", c.width, " has no such number; write num_heads into ",
            "model_args");
      c.heads = c.width / 64;
      if (name.empty()) assume_heads(in.where());
    }
    c.norm_eps = known.norm_eps.value_or(family_.norm_eps);
    if (in.flag("use_rot_pos_emb", known.rotary_grid.has_value())) {
      const int64_t named = in.has("ref_feat_shape") ? read_side(in, "ref_feat_shape") : 0;
      c.rotary_grid = named > 0 ? named : known.rotary_grid.value_or(c.grid());
    }
    if (c.activation == Activation::kSwiGlu) return;
    c.activation = known.activation;
    const std::string activation = in.word("act_layer", "");
    if (activation.empty()) return;
    check(activation == "gelu" || activation == "quick_gelu" || activation == "gelu_tanh", in.where(),
          ": key 'act_layer' is '", printable(activation), "'; known are gelu, quick_gelu and gelu_tanh");
    c.activation = activation == "quick_gelu"  ? Activation::kQuickGelu
                   : activation == "gelu_tanh" ? Activation::kGeluTanh
                                               : Activation::kGelu;
  }

  // The number of classes that a configuration names (as a number or a list of labels) against the head's rows.
  void confirm_classes(const JsonReader& in, const char* key) {
    const int64_t rows = out_.measures.head.classes;
    if (rows == 0 || !in.has(key)) return;
    const Json& found = in.json()[key];
    const auto named = found.is_object() ? static_cast<int64_t>(found.size()) : in.size(key, 0);
    if (named != rows) note(text("its configuration names ", named, " classes, its head has ", rows));
  }

  void timm_pool(const std::string& name, const std::string& where) {
    if (name.empty()) return;
    check(name == "token" || name == "avg" || name == "map", where, ": key 'global_pool' is '", printable(name),
          "'; known are token, avg and map");
    Pool& pool = out_.measures.head.pool;
    check((name == "map") == (pool == Pool::kAttention), where, ": key 'global_pool' is '", printable(name),
          "', but the tensors ", pool == Pool::kAttention ? "hold" : "lack", " a pooling by attention");
    if (name != "map") pool = name == "avg" ? Pool::kMean : Pool::kToken;
  }

  void open_clip(const JsonReader& whole) {
    const JsonReader model = whole.object("model_cfg"), in = model.object("vision_cfg");
    if (out_.measures.embed > 0) model.confirm("embed_dim", out_.measures.embed);
    set_side(in, "image_size");
    if (family_.config == ConfigKind::kOpenClip) {
      own_tower(model, in);
    } else {
      timm_tower(in);
    }
    if (!whole.has("preprocess_cfg")) return note("no preprocess_cfg: statistics of pixels are those usual in CLIPs");
    read_pixels(whole.object("preprocess_cfg"));
  }

  void own_tower(const JsonReader& model, const JsonReader& in) {
    refuse_unknown(in, {"image_size",
                        "layers",
                        "width",
                        "head_width",
                        "patch_size",
                        "mlp_ratio",
                        "patch_dropout",
                        "ls_init_value",
                        "no_ln_pre",
                        "output_tokens",
                        "final_ln_after_pool",
                        "norm_kwargs",
                        "act_kwargs",
                        "pool_type",
                        "pos_embed_type",
                        "attn_pooler_queries",
                        "attn_pooler_heads",
                        "timm_pool",
                        "timm_proj",
                        "timm_drop",
                        "block_type"});
    VitConfig& c = vit();
    in.confirm("layers", c.depth);
    in.confirm("width", c.width);
    in.confirm("patch_size", c.patch_side);
    for (const auto& [key, plain] :
         {std::pair("pool_type", "tok"), {"pos_embed_type", "learnable"}, {"block_type", "default"}})
      check(!in.has(key) || in.word(key, plain) == plain, in.where(), ": key '", key, "' is '",
            printable(in.word(key, plain)), "'; only ", plain, " is understood");
    const int64_t head_width = in.size("head_width", 64);
    check(c.width % head_width == 0, in.where(), ": width ", c.width, " is not divisible into heads of ", head_width);
    c.heads = c.width / head_width;
    c.activation = model.flag("quick_gelu", false) ? Activation::kQuickGelu : Activation::kGelu;
    if (in.has("act_kwargs")) {
      const JsonReader act = in.object("act_kwargs");
      check(act.json().size() == 1 && act.word("approximate", "") == "tanh" && c.activation == Activation::kGelu,
            act.where(), " is ", printable(act.json().dump()), "; only {\"approximate\": \"tanh\"} is understood");
      c.activation = Activation::kGeluTanh;
    }
    c.norm_eps = in.has("norm_kwargs") ? read_eps(in.object("norm_kwargs"), "eps", family_.norm_eps) : family_.norm_eps;
  }

  void timm_tower(const JsonReader& in) {
    refuse_unknown(in, {"image_size", "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj",
                        "timm_proj_bias", "timm_drop", "timm_drop_path", "patch_dropout", "output_tokens"});
    const std::string name = in.word("timm_model_name", "");
    check(!name.empty(), in.where(), ": expected the key timm_model_name, which tells what this tower computes");
    const Json none = Json::object();
    architecture(name, JsonReader(none, in.where()));
    timm_pool(in.word("timm_pool", ""), in.where());
  }

  const TensorFile& file_;
  const fs::path folder_;
  const Family& family_;
  const std::optional<Activation> asked_;
  std::string name_;        // where the file lies, and what its configuration calls itself
  bool silent_ = false;     // there is no configuration
  bool says_none_ = false;  // there are no positions, and the configuration says so
  DescribedVit out_;
};

}  // namespace

int64_t assumed_heads(int64_t width, const std::string& where, std::vector<std::string>& notes) {
  check(width % 64 == 0, where, ": nothing tells the number of heads, and width ", width,
        " has none of the usual 64 channels; write it into config.json beside the weights");
  notes.push_back(text("nothing tells the number of heads: ", width / 64, " assumed, one for every 64 channels"));
  return width / 64;
}

DescribedVit describe(const TensorFile& file, const NamedVit& named, const VitMeasures& measures,
                      std::optional<Activation> activation) {
  DescribedVit out = Describer(file, named, measures, activation).run();
  if (out.pixels.stats == unknown_stats(measures.vit.channels))
    out.notes.push_back(text("nothing tells mean and standard deviation of its ", measures.vit.channels,
                             " channels: 0.5 assumed for each"));
  return out;
}

fs::path folder_of(const TensorFile& file) {
  return file.path().has_parent_path() ? file.path().parent_path() : fs::path(".");
}

}  // namespace lacuna
