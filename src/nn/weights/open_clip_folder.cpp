// OpenCLIP's folder. What its towers compute was read in open_clip 3.3.0 (model.py, transformer.py, timm_model.py).

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/dialect.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/portable_clip.h"
#include "nn/weights/vit_names.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kUsualEps = 1e-5;
constexpr int64_t kUsualVocabulary = 49408;  // of the tokenizer that OpenCLIP brings along

// timm's plain ViTs by name; OpenCLIP passes timm no sizes.
struct TimmRow {
  const char* size;
  int64_t width, depth, heads, patch_side, image_side;
};
constexpr TimmRow kTimmRows[] = {
    {"tiny", 192, 12, 3, 16, 224},    {"tiny", 192, 12, 3, 16, 384},    {"small", 384, 12, 6, 16, 224},
    {"small", 384, 12, 6, 16, 384},   {"small", 384, 12, 6, 32, 224},   {"base", 768, 12, 12, 8, 224},
    {"base", 768, 12, 12, 16, 224},   {"base", 768, 12, 12, 16, 384},   {"base", 768, 12, 12, 32, 224},
    {"base", 768, 12, 12, 32, 384},   {"large", 1024, 24, 16, 14, 224}, {"large", 1024, 24, 16, 16, 224},
    {"large", 1024, 24, 16, 16, 384}, {"huge", 1280, 32, 16, 14, 224}};

// The name of timm's network that computes what this tower does; empty when there is none.
std::string timm_name(const VitConfig& c) {
  const bool plain = !c.pre_norm && !c.layer_scale && c.relative_bias == RelativeBiasKind::kNone && c.class_token &&
                     c.final_norm && c.activation == Activation::kGelu && std::abs(c.norm_eps - 1e-6) < 1e-12 &&
                     c.hidden == 4 * c.width && c.registers == 0 && why_not_plain(c).empty();
  const auto row = std::find_if(std::begin(kTimmRows), std::end(kTimmRows), [&](const TimmRow& r) {
    return r.width == c.width && r.depth == c.depth && r.heads == c.heads && r.patch_side == c.patch_side &&
           r.image_side == c.image_side;
  });
  if (!plain || row == std::end(kTimmRows)) return "";
  return text("vit_", row->size, "_patch", row->patch_side, "_", row->image_side);
}

std::string why_not_own_tower(const ClipConfig& c) {
  const VitConfig& v = c.vision;
  if (std::string reason = why_not_plain(v); !reason.empty()) return reason;
  if (v.registers > 0) return "OpenCLIP's vision tower has no registers";
  if (v.relative_bias != RelativeBiasKind::kNone) return "OpenCLIP's vision tower has no relative position bias";
  if (!v.class_token || !v.final_norm) return "OpenCLIP's vision tower has a class token and a final norm";
  if (v.activation != c.text.activation)
    return "OpenCLIP has one activation for both towers, and none of timm's named networks is this vision tower";
  return "";
}

bool takes_timm_tower(const ClipConfig& c) {
  const bool as_it_is = c.vision.pre_norm && !c.vision.patch_bias;
  return !timm_name(c.vision).empty() && !(as_it_is && why_not_own_tower(c).empty());
}

Json tower_json(int64_t width, int64_t depth, int64_t hidden, double eps) {
  Json out = {{"width", width}, {"layers", depth}};
  if (hidden != 4 * width) out["mlp_ratio"] = mlp_ratio(hidden, width);
  if (std::abs(eps - kUsualEps) > 1e-12) out["norm_kwargs"] = {{"eps", eps}};
  return out;
}

Json vision_json(const VitConfig& v, bool timm) {
  if (timm)
    return {{"image_size", v.image_side},
            {"timm_model_name", timm_name(v)},
            {"timm_model_pretrained", false},
            {"timm_pool", "token"},
            {"timm_proj", "linear"}};
  Json out = tower_json(v.width, v.depth, v.hidden, v.norm_eps);
  out.update({{"image_size", v.image_side}, {"patch_size", v.patch_side}, {"head_width", v.width / v.heads}});
  if (v.layer_scale) out["ls_init_value"] = *v.layer_scale;
  if (!v.pre_norm) out["no_ln_pre"] = true;
  return out;
}

Json config_json(const PortableClip& clip, bool timm, bool own_tokenizer) {
  const ClipConfig& c = clip.config;
  Json words = tower_json(c.text.width, c.text.depth, c.text.hidden, c.text.norm_eps);
  words.update({{"context_length", c.text.context}, {"vocab_size", c.text.vocabulary}, {"heads", c.text.heads}});
  if (own_tokenizer) words["hf_tokenizer_name"] = ".";  // beside this file
  Json model = {{"embed_dim", c.embed}, {"vision_cfg", vision_json(c.vision, timm)}, {"text_cfg", words}};
  if (c.text.activation == Activation::kQuickGelu) model["quick_gelu"] = true;
  if (c.logit_bias) {
    model["custom_text"] = true;
    model["init_logit_bias"] = find(clip.tensors, "logit_bias")->item<double>();
  }
  return {{"model_cfg", model},
          {"preprocess_cfg",
           {{"mean", c.stats.mean},
            {"std", c.stats.std},
            {"interpolation", name_of(kKernels, c.kernel)},
            {"resize_mode", "shortest"}}}};
}

// The vision tower under timm's names, the rest under OpenCLIP's.
NamedTensors timm_tower_names(const PortableClip& clip, const KeyMap& names) {
  PortableVit vision = vision_of(clip);
  std::erase_if(vision.tensors, [](const auto& t) { return t.first == "projection.weight"; });
  Dialect dialect = timm_dialect(vision.vit);
  dialect.prefix = "visual.trunk.";
  NamedTensors out = named_in(dialect, vision, "timm");
  out.emplace_back("visual.head.proj.weight", *find(clip.tensors, "vision_projection.weight"));
  NamedTensors rest = clip.tensors;
  std::erase_if(rest, [](const auto& t) { return t.first.starts_with("vision"); });
  for (auto& item : export_weights(rest, names)) out.push_back(std::move(item));
  return out;
}

}  // namespace

std::string why_not_open_clip(const PortableClip& clip) {
  const ClipConfig& c = clip.config;
  const TextConfig& t = c.text;
  if (!t.causal) return "OpenCLIP's text tower without its causal mask also reads what follows the end of a caption";
  if (!t.pool_at_largest_id && t.end_id != t.vocabulary - 1)
    return "OpenCLIP finds the end of a caption by the largest id, which is not this vocabulary's end token";
  if (t.activation != Activation::kGelu && t.activation != Activation::kQuickGelu)
    return "OpenCLIP's text tower takes exact GELU or QuickGELU";
  if (c.kernel != Kernel::kBicubic && c.kernel != Kernel::kBilinear)
    return "OpenCLIP resizes images by bicubic or bilinear interpolation";
  if (c.vision.channels != 3) return "OpenCLIP's vision towers see three channels";
  return takes_timm_tower(c) ? "" : why_not_own_tower(c);
}

void write_open_clip_folder(const fs::path& folder, PortableClip clip, at::ScalarType dtype) {
  const std::string reason = why_not_open_clip(clip);
  check(reason.empty(), "export: ", reason);
  const bool timm = takes_timm_tower(clip.config);
  PortableVit vision = vision_of(clip);
  learn_positions(vision);
  fill_attention_bias(vision);
  if (timm) {
    fill_patch_bias(vision);
  } else {
    move_patch_bias(vision);
  }
  set_vision(clip, vision);
  const KeyMap names = clip_key_map(clip.config, clip.config.logit_bias ? ClipNames::kCustomText : ClipNames::kOpenAi);
  NamedTensors tensors = timm ? timm_tower_names(clip, names) : export_weights(clip.tensors, names);
  invariant(tensors.size() == clip.tensors.size(), "OpenCLIP export: ", tensors.size(), " tensors of ",
            clip.tensors.size());
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  fs::create_directories(folder);
  write_weights(folder / "open_clip_model.safetensors", tensors, dtype);
  const bool own_words = clip.config.text.vocabulary != kUsualVocabulary && copy_tokenizer(clip.tokenizer, folder);
  write_json_atomic(folder / "open_clip_config.json", config_json(clip, timm, own_words));
}

}  // namespace lacuna
