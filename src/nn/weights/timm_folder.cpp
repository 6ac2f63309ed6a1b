// timm's folder. What its constructors take was read in timm 1.0.31 (models/vision_transformer.py, models/beit.py).

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/dialect.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/json_reader.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kVit = "vit_base_patch16_224";
constexpr const char* kClip = "vit_base_patch16_clip_224";  // its norms have epsilon 1e-5
constexpr const char* kGated = "vit_giant_patch14_dinov2";  // its MLPs are SwiGLU
constexpr const char* kBeit = "beit_base_patch16_224";

bool is_beit(const VitConfig& c) { return c.relative_bias != RelativeBiasKind::kNone; }
bool is(double a, double b) { return std::abs(a - b) < 1e-12; }
bool pools_mean(const PortableVit& net) { return net.head.pool == Pool::kMean || !net.vit.class_token; }

std::string architecture(const VitConfig& c) {
  if (is_beit(c)) return kBeit;
  if (c.activation == Activation::kSwiGlu) return kGated;
  return is(c.norm_eps, 1e-5) ? kClip : kVit;
}

// timm's names of activations differ from transformers' in one.
std::string timm_activation(Activation activation) {
  return activation == Activation::kGeluTanh ? "gelu_tanh" : activation_name(activation);
}

std::string why_not_beit(const VitConfig& c, bool has_norm) {
  if (c.activation != Activation::kGelu) return "timm's BEiT takes exact GELU; this network uses another activation";
  if (!is(c.norm_eps, 1e-6)) return "timm's BEiT normalises with epsilon 1e-6";
  if (!c.final_norm && !has_norm)
    return "timm's BEiT has a norm after its blocks, and this network has none; use --to hf";
  if (c.pre_norm) return "timm's BEiT, which has the relative position bias, has no norm before the blocks";
  return "";
}

Json model_arguments(const PortableVit& net) {
  const VitConfig& c = net.vit;
  const bool mean = pools_mean(net), gated = c.activation == Activation::kSwiGlu;
  Json out = {{"img_size", c.image_side},
              {"patch_size", c.patch_side},
              {"embed_dim", c.width},
              {"depth", c.depth},
              {"num_heads", c.heads},
              {"mlp_ratio", mlp_ratio(gated ? 2 * c.hidden : c.hidden, c.width)},
              {"qkv_bias", c.qkv_bias != QkvBias::kNone},
              {"global_pool", mean ? "avg" : "token"}};
  if (c.channels != 3) out["in_chans"] = c.channels;
  if (c.layer_scale) out["init_values"] = *c.layer_scale;
  if (is_beit(c)) {
    out["use_abs_pos_emb"] = c.positions != Positions::kNone;
    out["use_rel_pos_bias"] = c.relative_bias == RelativeBiasKind::kPerBlock;
    out["use_shared_rel_pos_bias"] = c.relative_bias == RelativeBiasKind::kShared;
    if (net.head.norm != mean) out["use_fc_norm"] = net.head.norm;  // its default follows the pooling
    return out;
  }
  out["class_token"] = c.class_token;
  if (c.registers > 0) {
    out["reg_tokens"] = c.registers;
    out["no_embed_class"] = true;  // else registers would have positions
  }
  if (net.head.norm != mean) out["fc_norm"] = net.head.norm;
  if (!net.head.norm && !c.final_norm) out["final_norm"] = false;
  if (gated && !c.layer_scale) out["init_values"] = nullptr;
  if (c.pre_norm || architecture(c) == kClip) out["pre_norm"] = c.pre_norm;
  if (!gated && c.activation != Activation::kGelu) out["act_layer"] = timm_activation(c.activation);
  return out;
}

const char* crop_mode(Fit fit) { return fit == Fit::kCrop ? "center" : fit == Fit::kSquash ? "squash" : "border"; }

// timm resizes to the side over this share, cut to a whole number.
double crop_share(int64_t side, int64_t resized) {
  if (resized == 0) return 1.0;
  double share = static_cast<double>(side) / static_cast<double>(resized);
  while (static_cast<int64_t>(static_cast<double>(side) / share) < resized) share = std::nextafter(share, 0.0);
  return share;
}

Json config_json(const PortableVit& net) {
  const VitConfig& c = net.vit;
  const Json arguments = model_arguments(net);
  Json out = {{"architecture", architecture(c)},
              {"num_classes", net.head.classes},
              {"num_features", c.width},
              {"global_pool", arguments["global_pool"]},
              {"model_args", arguments},
              {"pretrained_cfg",
               {{"input_size", {c.channels, c.image_side, c.image_side}},
                {"fixed_input_size", true},
                {"interpolation", name_of(kKernels, net.kernel)},
                {"crop_pct", crop_share(c.image_side, net.framing.resized)},
                {"crop_mode", crop_mode(net.framing.fit)},
                {"mean", net.stats.mean},
                {"std", net.stats.std},
                {"num_classes", net.head.classes},
                {"first_conv", "patch_embed.proj"},
                {"classifier", "head"}}}};
  if (c.channels != 3) out["pretrained_cfg"]["first_conv"] = nullptr;  // else timm would convert it from three channels
  if (!net.labels.empty()) out["label_names"] = net.labels;
  return out;
}

}  // namespace

std::string why_not_timm(const PortableVit& net) {
  const VitConfig& c = net.vit;
  if (std::string reason = why_not_plain(c); !reason.empty()) return reason;
  if (net.head.pool == Pool::kAttention) return "the attention pooling of this network is not written as timm's";
  if (net.head.norm && c.final_norm) return "timm's networks have one norm after the blocks, this one has two";
  if (is_beit(c)) return why_not_beit(c, net.head.norm);
  if (c.pre_norm && c.patch_bias) return "timm's ViT has no bias on its patches where it has a norm before the blocks";
  if (!is(c.norm_eps, 1e-6) && (!is(c.norm_eps, 1e-5) || c.activation == Activation::kSwiGlu))
    return text("timm's ViT normalises with epsilon 1e-6, or 1e-5 in CLIP's tower; this network with ", c.norm_eps);
  return "";
}

void rewrite_for_timm(PortableVit& net) {
  VitConfig& c = net.vit;
  make_projection_head(net);
  if (!is_beit(c) || c.positions != Positions::kNone) learn_positions(net);
  if (is_beit(c) && c.qkv_bias == QkvBias::kAll) drop_key_bias(net);
  if (!is_beit(c) && c.qkv_bias == QkvBias::kQueryValue) fill_attention_bias(net);
  if (!c.pre_norm) fill_patch_bias(net);
}

void write_timm_folder(const fs::path& folder, PortableVit net, at::ScalarType dtype) {
  check(why_not_timm(net).empty(), "export: ", why_not_timm(net));
  rewrite_for_timm(net);
  if (net.vit.registers > 0) {
    move_class_position(net);
    net.own.reset();  // it would say that the class token has a position
  }
  fs::create_directories(folder);
  write_weights(folder / "model.safetensors", named_in(timm_dialect(net.vit), net, "timm"), dtype);
  write_json_atomic(folder / "config.json", config_json(net));
  if (net.own) write_json_atomic(folder / kOwnConfig, to_json(*net.own));
}

double mlp_ratio(int64_t hidden, int64_t width) {
  double ratio = static_cast<double>(hidden) / static_cast<double>(width);
  while (static_cast<int64_t>(static_cast<double>(width) * ratio) < hidden) ratio = std::nextafter(ratio, 1e9);
  return ratio;
}

void write_weights(const fs::path& file, const NamedTensors& tensors, at::ScalarType dtype) {
  std::vector<at::Tensor> keep;
  NamedTensors stored = tensors;
  for (auto& [name, tensor] : stored) tensor = tensor.to(dtype);
  write_safetensors(file, to_views(stored, keep), {{"format", "pt"}});
}

}  // namespace lacuna
