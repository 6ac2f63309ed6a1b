// transformers' folders. Which class computes what was read in transformers 5.23; names on disk are the old ones, which
// it and the versions before it map to theirs.

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/dialect.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/json_reader.h"
#include "nn/weights/preprocessing.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kMaxRatio = 64;

enum class Kind { kVit, kBeit, kDinov2, kSiglip, kClip };

bool has_bias_table(const VitConfig& c) { return c.relative_bias != RelativeBiasKind::kNone; }

// Rows of a DINOv2's gated MLP for a whole-numbered ratio, by transformers' formula.
int64_t gated_hidden(int64_t width, int64_t ratio) {
  return (static_cast<int64_t>(static_cast<double>(width * ratio) * 2 / 3) + 7) / 8 * 8;
}

// DINOv2's configuration takes whole numbers only; 0 where none gives this MLP.
int64_t dinov2_ratio(const VitConfig& c) {
  for (int64_t ratio = 1; ratio <= kMaxRatio; ++ratio) {
    const int64_t hidden = c.activation == Activation::kSwiGlu ? gated_hidden(c.width, ratio) : c.width * ratio;
    if (hidden == c.hidden) return ratio;
  }
  return 0;
}

Kind choose(const PortableVit& net) {
  const VitConfig& c = net.vit;
  if (net.embed > 0 || c.pre_norm) return Kind::kClip;
  if (!c.class_token) return Kind::kSiglip;
  if (c.activation == Activation::kSwiGlu || c.registers > 0) return Kind::kDinov2;
  if (has_bias_table(c) || net.head.norm || !c.final_norm) return Kind::kBeit;
  if (!c.layer_scale) return Kind::kVit;
  return net.head.classes > 0 || dinov2_ratio(c) == 0 ? Kind::kBeit : Kind::kDinov2;
}

std::string why_not_clip_vision(const PortableVit& net) {
  const VitConfig& c = net.vit;
  if (!c.pre_norm || c.patch_bias)
    return "transformers' CLIP has a norm before the blocks and a patch embedding without bias, which this network has "
           "not; use --to openclip or --to timm";
  if (has_bias_table(c)) return "transformers' CLIP has no relative position bias";
  if (c.layer_scale) return "transformers' CLIP has no layer scale";
  if (c.registers > 0) return "transformers' CLIP has no registers";
  if (!c.class_token || !c.final_norm) return "transformers' CLIP has a class token and a final norm";
  if (net.head.classes > 0 || net.head.norm) return "transformers' CLIP vision tower has no such classifier";
  return c.activation == Activation::kSwiGlu ? "transformers' CLIP has no gated MLP" : "";
}

std::string why_not_siglip(const PortableVit& net) {
  const VitConfig& c = net.vit;
  if (c.layer_scale) return "transformers has no ViT without class token that has a layer scale";
  if (c.registers > 0) return "transformers has no ViT without class token that has registers";
  if (c.activation == Activation::kSwiGlu) return "transformers has no ViT without class token that has a gated MLP";
  if (!c.final_norm || net.head.norm) return "transformers' SigLIP normalises tokens, not their mean";
  if (net.head.classes > 0) return "transformers' SigLIP vision tower has no classifier; leave it out by head=false";
  return "";
}

std::string why_not_dinov2(const PortableVit& net) {
  const VitConfig& c = net.vit;
  if (has_bias_table(c)) return "transformers has no network with a gated MLP and a relative position bias";
  if (!c.final_norm || net.head.norm) return "transformers' DINOv2 normalises tokens, not their mean";
  if (net.head.classes > 0)
    return "transformers' DINOv2 classifies by class token and mean together; leave the classifier out by head=false";
  if (dinov2_ratio(c) == 0)
    return text("transformers' DINOv2 takes no hidden width of ", c.hidden, " at a width of ", c.width);
  return "";
}

std::string why_not_beit(const PortableVit& net) {
  if (net.head.norm && net.vit.final_norm) return "transformers' BEiT normalises the tokens or their mean, not both";
  if (net.head.classes > 0 && (net.head.pool == Pool::kMean) != net.head.norm)
    return "transformers' BEiT normalises the mean of the tokens after it is taken; leave the classifier out by "
           "head=false, or use --to timm";
  return "";
}

std::string why_not_vit(const PortableVit& net) {
  if (net.head.classes > 0 && net.head.pool != Pool::kToken)
    return "transformers' ViT classifies by the class token; leave the classifier out by head=false, or use --to timm";
  return "";
}

std::string prefix_of(Kind kind, bool classifier) {
  switch (kind) {
    case Kind::kVit:
      return classifier ? "vit." : "";
    case Kind::kBeit:
      return classifier ? "beit." : "";
    case Kind::kDinov2:
      break;
    case Kind::kSiglip:
    case Kind::kClip:
      return "vision_model.";
  }
  return "";
}

Dialect dialect_of(const PortableVit& net) {
  const Kind kind = choose(net);
  const bool gated = net.vit.activation == Activation::kSwiGlu;
  Dialect out{.family = &family_called("ViT or BEiT (transformers)"), .prefix = prefix_of(kind, net.head.classes > 0)};
  if (kind == Kind::kClip) out.family = &clip_family();
  if (kind == Kind::kSiglip) out.family = &family_called("SigLIP (transformers)");
  if (kind == Kind::kDinov2) {
    out.family = &family_called("DINOv2 (transformers)");
    out.without = {gated ? ".mlp.fc" : ".mlp.weights_"};
  }
  return out;
}

void rewrite(PortableVit& net) {
  const Kind kind = choose(net);
  if (!has_bias_table(net.vit) || net.vit.positions != Positions::kNone) learn_positions(net);
  if (kind == Kind::kBeit) {
    drop_key_bias(net);
  } else if (kind != Kind::kVit || net.vit.qkv_bias != QkvBias::kNone) {
    fill_attention_bias(net);
  }
  if (kind == Kind::kDinov2) fill_layer_scale(net);
  if (kind != Kind::kClip) fill_patch_bias(net);
}

// What all the configurations have.
Json sizes_json(const PortableVit& net) {
  const VitConfig& c = net.vit;
  return {{"architectures", {transformers_class(net)}},
          {"dtype", "float32"},
          {"hidden_act", activation_name(c.activation)},
          {"hidden_size", c.width},
          {"image_size", c.image_side},
          {"layer_norm_eps", c.norm_eps},
          {"num_attention_heads", c.heads},
          {"num_channels", c.channels},
          {"num_hidden_layers", c.depth},
          {"patch_size", c.patch_side}};
}

void add_classes(Json& out, const PortableVit& net) {
  for (int64_t i = 0; i < net.head.classes; ++i) {
    const std::string name = net.labels.empty() ? text("class_", i) : net.labels.at(static_cast<size_t>(i));
    out["id2label"][std::to_string(i)] = name;
    out["label2id"][name] = i;
  }
}

Json own_json(const PortableVit& net) {
  const VitConfig& c = net.vit;
  switch (choose(net)) {
    case Kind::kVit:
      return {{"model_type", "vit"}, {"intermediate_size", c.hidden}, {"qkv_bias", c.qkv_bias != QkvBias::kNone}};
    case Kind::kBeit:
      return {{"model_type", "beit"},
              {"intermediate_size", c.hidden},
              {"layer_scale_init_value", c.layer_scale.value_or(0.0)},
              {"use_absolute_position_embeddings", c.positions != Positions::kNone},
              {"use_relative_position_bias", c.relative_bias == RelativeBiasKind::kPerBlock},
              {"use_shared_relative_position_bias", c.relative_bias == RelativeBiasKind::kShared},
              {"use_mean_pooling", !c.final_norm},  // which leaves the tokens as they are
              {"use_mask_token", false}};
    case Kind::kDinov2: {
      Json out = {{"model_type", "dinov2"},  {"mlp_ratio", dinov2_ratio(c)},
                  {"qkv_bias", true},        {"layerscale_value", *c.layer_scale},
                  {"use_mask_token", false}, {"use_swiglu_ffn", c.activation == Activation::kSwiGlu}};
      if (c.registers > 0) {
        out.update({{"model_type", "dinov2_with_registers"}, {"num_register_tokens", c.registers}});
        out.erase("use_mask_token");  // this class always has the token
      }
      return out;
    }
    case Kind::kSiglip:
      return {{"model_type", "siglip_vision_model"},
              {"intermediate_size", c.hidden},
              {"vision_use_head", net.head.pool == Pool::kAttention}};
    case Kind::kClip:
      break;
  }
  Json out = {{"model_type", "clip_vision_model"}, {"intermediate_size", c.hidden}};
  if (net.embed > 0) out["projection_dim"] = net.embed;
  return out;
}

}  // namespace

std::string transformers_class(const PortableVit& net) {
  const bool classifier = net.head.classes > 0;
  switch (choose(net)) {
    case Kind::kVit:
      return classifier ? "ViTForImageClassification" : "ViTModel";
    case Kind::kBeit:
      return classifier ? "BeitForImageClassification" : "BeitModel";
    case Kind::kDinov2:
      return net.vit.registers > 0 ? "Dinov2WithRegistersModel" : "Dinov2Model";
    case Kind::kSiglip:
      return "SiglipVisionModel";
    case Kind::kClip:
      return net.embed > 0 ? "CLIPVisionModelWithProjection" : "CLIPVisionModel";
  }
  return "";
}

std::string why_not_transformers(const PortableVit& net) {
  if (std::string reason = why_not_plain(net.vit); !reason.empty()) return reason;
  if (net.framing.fit == Fit::kPad)
    return "transformers' image processors for ViTs do not pad images to a square, as this network's does; use --to "
           "timm";
  if (net.head.pool == Pool::kAttention && choose(net) != Kind::kSiglip)
    return "only transformers' SigLIP pools by attention, and it has no class token; leave the pooling out by "
           "head=false";
  switch (choose(net)) {
    case Kind::kVit:
      return why_not_vit(net);
    case Kind::kBeit:
      return why_not_beit(net);
    case Kind::kDinov2:
      return why_not_dinov2(net);
    case Kind::kSiglip:
      return why_not_siglip(net);
    case Kind::kClip:
      return why_not_clip_vision(net);
  }
  return "";
}

Json processor_json(const ImageProcessor& p) {
  Json out = {{"do_resize", true},
              {"resample", kernel_code(p.kernel)},
              {"do_rescale", true},
              {"rescale_factor", 1.0 / 255.0},
              {"do_normalize", true},
              {"image_mean", p.stats.mean},
              {"image_std", p.stats.std},
              {"do_convert_rgb", p.stats.mean.size() == 3},
              {"image_processor_type", p.name}};
  const Json square = {{"height", p.side}, {"width", p.side}};
  out["size"] = p.crops ? Json{{"shortest_edge", p.resized > 0 ? p.resized : p.side}} : square;
  if (p.crops) out.update({{"do_center_crop", true}, {"crop_size", square}});
  return out;
}

void write_transformers_folder(const fs::path& folder, PortableVit net, at::ScalarType dtype) {
  const std::string reason = why_not_transformers(net);
  check(reason.empty(), "export: ", reason);
  rewrite(net);
  const Kind kind = choose(net);
  ImageProcessor processor{.name = "BitImageProcessor",
                           .crops = net.framing.fit != Fit::kSquash,
                           .resized = net.framing.resized,
                           .side = net.vit.image_side,
                           .stats = net.stats,
                           .kernel = net.kernel};
  if (!processor.crops) processor.name = "ViTImageProcessor";
  if (kind == Kind::kClip) processor.name = "CLIPImageProcessor";
  if (kind == Kind::kSiglip) processor.name = "SiglipImageProcessor", processor.crops = false;
  fs::create_directories(folder);
  NamedTensors tensors = named_in(dialect_of(net), net, "transformers");
  if (net.vit.registers > 0) {
    const at::Tensor& like = tensors.at(0).second;
    tensors.insert(tensors.begin(), {"embeddings.mask_token", at::zeros({1, net.vit.width}, like.options())});
  }
  write_weights(folder / "model.safetensors", tensors, dtype);
  write_json_atomic(folder / "preprocessor_config.json", processor_json(processor));
  Json config = sizes_json(net);
  config.update(own_json(net));
  add_classes(config, net);
  write_json_atomic(folder / "config.json", config);
}

}  // namespace lacuna
