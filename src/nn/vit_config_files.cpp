#include "nn/vit_config_files.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kMaxConfigBytes = 16u << 20;
constexpr int64_t kMaxImageSide = 8192;

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

// The side of the images: an integer, or [height, width] with equal entries. 0 when absent.
int64_t read_side(const JsonReader& in, const char* key) {
  if (!in.has(key)) return 0;
  Json side = in.json()[key];
  if (side.is_array() && side.size() == 3) side.erase(side.begin());  // timm's input_size starts with the channels
  if (side.is_array() && side.size() == 2 && side[0] == side[1]) side = side[0];
  check(side.is_number_integer() && side.get<int64_t>() > 0 && side.get<int64_t>() <= kMaxImageSide, in.where(),
        ": key '", key, "' must be the side of square images, up to ", kMaxImageSide, ", found ",
        printable(in.json()[key].dump()));
  return side.get<int64_t>();
}

class Describer {
 public:
  Describer(const fs::path& folder, const NamedVit& named, const VitMeasures& measures)
      : folder_(folder), family_(*named.family), out_{.measures = measures, .pixels = {}, .notes = {}} {
    out_.pixels.stats = family_.stats;
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
        from_file("open_clip_config.json", [this](const JsonReader& in) { open_clip(in); });
        break;
    }
    check(vit().image_side > 0, folder_.string(), ": neither a position table nor a configuration tells the size of ",
          "the images; expected the side in config.json");
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
      read(JsonReader(json, path.string()));
    } else {
      assume(name);
    }
  }

  // No configuration at all.
  void assume(const char* missing) {
    VitConfig& c = vit();
    if (c.heads == 0) c.heads = assumed_heads(c.width, folder_.string(), out_.notes);
    c.norm_eps = family_.norm_eps;
    if (c.activation != Activation::kSwiGlu)
      c.activation = JsonReader(Json::object(), "").activation("", family_.activation);
    note(text("no ", missing, " beside the weights: activation, epsilon ", c.norm_eps,
              " and the statistics of pixels are those usual in the family ", family_.name));
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
    const JsonReader in = whole.has("vision_config") ? whole.object("vision_config") : whole;
    VitConfig& c = vit();
    in.confirm("hidden_size", c.width);
    in.confirm("num_hidden_layers", c.depth);
    in.confirm("patch_size", c.patch_side);
    in.confirm("num_channels", 3);
    if (out_.measures.embed > 0) whole.confirm("projection_dim", out_.measures.embed);
    if (c.activation != Activation::kSwiGlu) in.confirm("intermediate_size", c.hidden);
    set_heads(in, "num_attention_heads", 12);  // transformers' default in all of these families
    set_side(in, "image_size");
    set_activation(in, "hidden_act");
    c.norm_eps = read_eps(in, "layer_norm_eps", family_.norm_eps);
    const fs::path path = folder_ / "preprocessor_config.json";
    if (!fs::exists(path)) return note("no preprocessor_config.json: statistics of pixels usual in the family");
    const Json json = read_json(path, kMaxConfigBytes);
    out_.pixels = read_processor(JsonReader(json, path.string()), out_.pixels);
  }

  void timm(const JsonReader& whole) {
    const Json none = Json::object();
    const JsonReader in = whole.has("model_args") ? whole.object("model_args") : JsonReader(none, whole.where());
    refuse_unknown(in, {"img_size",        "patch_size",       "in_chans",
                        "num_classes",     "global_pool",      "embed_dim",
                        "depth",           "num_heads",        "mlp_ratio",
                        "qkv_bias",        "init_values",      "class_token",
                        "no_embed_class",  "pos_embed",        "pre_norm",
                        "fc_norm",         "final_norm",       "act_layer",
                        "use_abs_pos_emb", "use_rel_pos_bias", "use_shared_rel_pos_bias",
                        "head_init_scale", "drop_rate",        "pos_drop_rate",
                        "proj_drop_rate",  "attn_drop_rate",   "drop_path_rate",
                        "weight_init",     "dynamic_img_size", "dynamic_img_pad",
                        "pretrained_cfg",  "window_size",      "fix_init"});
    VitConfig& c = vit();
    in.confirm("embed_dim", c.width);
    in.confirm("depth", c.depth);
    in.confirm("patch_size", c.patch_side);
    in.confirm("in_chans", 3);
    check(in.flag("class_token", c.class_token) == c.class_token, in.where(), ": key 'class_token' is ", !c.class_token,
          ", but the tensors say ", c.class_token);
    set_side(in, "img_size");
    timm_architecture(whole.word("architecture", ""), in);
    if (in.number("init_values", 0) > 0 && c.layer_scale) c.layer_scale = in.number("init_values", 1);
    timm_pool(in.word("global_pool", whole.word("global_pool", "").c_str()), in.where());
    if (!whole.has("pretrained_cfg")) return note("no pretrained_cfg: statistics of pixels are ImageNet's");
    const JsonReader pixels = whole.object("pretrained_cfg");
    out_.pixels = read_named_preprocessing(pixels, out_.pixels);
    if (c.image_side == 0) set_side(pixels, "input_size");
  }

  // The name of the architecture stands for what model_args leaves out.
  void timm_architecture(const std::string& name, const JsonReader& in) {
    struct Row {
      const char* start;
      int64_t heads;
    };
    constexpr Row kUnusual[] = {{"vit_huge_", 16},
                                {"vit_giant_patch14_dinov2", 24},
                                {"vit_giant_", 16},
                                {"vit_gigantic_", 16},
                                {"vit_so400m_", 16}};
    const auto row = std::find_if(std::begin(kUnusual), std::end(kUnusual),
                                  [&](const Row& each) { return name.starts_with(each.start); });
    VitConfig& c = vit();
    if (in.has("num_heads") || c.heads > 0) {
      set_heads(in, "num_heads", 0);
    } else if (row != std::end(kUnusual)) {
      set_heads(in, "num_heads", row->heads);
    } else {
      c.heads = assumed_heads(c.width, in.where(), out_.notes);
    }
    c.norm_eps = c.pre_norm && name.find("_clip_") != std::string::npos ? 1e-5 : family_.norm_eps;
    const bool quick = name.find("quickgelu") != std::string::npos;
    const std::string activation = in.word("act_layer", quick ? "quick_gelu" : "gelu");
    check(activation == "gelu" || activation == "quick_gelu" || activation == "gelu_tanh", in.where(),
          ": key 'act_layer' is '", printable(activation), "'; known are gelu, quick_gelu and gelu_tanh");
    if (c.activation == Activation::kSwiGlu) return;
    c.activation = activation == "quick_gelu"  ? Activation::kQuickGelu
                   : activation == "gelu_tanh" ? Activation::kGeluTanh
                                               : Activation::kGelu;
  }

  void timm_pool(const std::string& name, const std::string& where) {
    if (name.empty()) return;
    check(name == "token" || name == "avg", where, ": key 'global_pool' is '", printable(name),
          "'; known are token and avg");
    out_.measures.head.pool = name == "avg" ? Pool::kMean : Pool::kToken;
  }

  void open_clip(const JsonReader& whole) {
    const JsonReader model = whole.object("model_cfg"), in = model.object("vision_cfg");
    refuse_unknown(in, {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio", "patch_dropout",
                        "ls_init_value", "no_ln_pre", "output_tokens", "final_ln_after_pool", "norm_kwargs"});
    VitConfig& c = vit();
    model.confirm("embed_dim", out_.measures.embed);
    in.confirm("layers", c.depth);
    in.confirm("width", c.width);
    in.confirm("patch_size", c.patch_side);
    set_side(in, "image_size");
    const int64_t head_width = in.size("head_width", 64);
    check(c.width % head_width == 0, in.where(), ": width ", c.width, " is not divisible into heads of ", head_width);
    c.heads = c.width / head_width;
    c.activation = model.flag("quick_gelu", false) ? Activation::kQuickGelu : Activation::kGelu;
    c.norm_eps = in.has("norm_kwargs") ? read_eps(in.object("norm_kwargs"), "eps", family_.norm_eps) : family_.norm_eps;
    if (!whole.has("preprocess_cfg")) return note("no preprocess_cfg: statistics of pixels are OpenAI's");
    out_.pixels = read_named_preprocessing(whole.object("preprocess_cfg"), out_.pixels);
  }

  const fs::path& folder_;
  const Family& family_;
  DescribedVit out_;
};

}  // namespace

int64_t assumed_heads(int64_t width, const std::string& where, std::vector<std::string>& notes) {
  check(width % 64 == 0, where, ": nothing tells the number of heads, and width ", width,
        " has none of the usual 64 channels; write it into config.json beside the weights");
  notes.push_back(text("nothing tells the number of heads: ", width / 64, " assumed, one for every 64 channels"));
  return width / 64;
}

DescribedVit describe(const fs::path& folder, const NamedVit& named, const VitMeasures& measures) {
  return Describer(folder, named, measures).run();
}

}  // namespace lacuna
