#pragma once
// Of golden/maskclip: its limits, its names of parameters, its checksums, and its list of variants.

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/golden.h"

namespace lacuna::testing::maskclip {

// Limits of the reference's README. Losses are absolute, the others relative to max(1, norm) in float64; in float32
// outputs are absolute and gradients relative to their norm.
struct MaskClipLimits {
  double output, loss, gradient, run_loss, run_parameter;
};
inline constexpr MaskClipLimits kF64{1e-10, 1e-10, 1e-10, 1e-9, 1e-8};
inline constexpr MaskClipLimits kF32{3e-5, 3e-6, 1e-5, 3e-5, 3e-6};

inline const MaskClipLimits& limits_of(at::ScalarType dtype) { return dtype == at::kDouble ? kF64 : kF32; }
inline std::string name_of(at::ScalarType dtype) { return dtype == at::kDouble ? "f64" : "f32"; }

inline const Json& step_json() {
  static const Json kJson = golden_json("maskclip/micro_step.json");
  return kJson;
}
inline const Json& run_json() {
  static const Json kJson = golden_json("maskclip/micro_run.json");
  return kJson;
}

inline Json config_of(const std::string& variant) {
  Json config = step_json().at("config");
  config.update(step_json().at("variants").at(variant).at("config_change"));
  return config;
}

inline double norm_of(const at::Tensor& x) { return at::linalg_vector_norm(x.to(at::kDouble)).item<double>(); }

inline at::Tensor stored(const TensorFile& file, const std::string& key) { return to_tensor(file.at(key)); }

// ---- Names of the reference -----------------------------------------------------------------------------------------

inline void add_timm_blocks(KeyMap& map, int64_t depth, const std::string& ours, const std::string& theirs) {
  std::vector<KeyRule> rules;
  for (const char* layer : {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}) {
    for (const char* leaf : {".weight", ".bias"})
      rules.push_back({{ours + ".{i}." + layer + leaf}, {theirs + ".{i}." + layer + leaf}});
  }
  map.add_each_block(depth, rules);
}

inline void add_clip_blocks(KeyMap& map, int64_t depth, const std::string& ours, const std::string& theirs) {
  const std::pair<const char*, const char*> names[] = {{"norm1.weight", "ln_1.weight"},
                                                       {"norm1.bias", "ln_1.bias"},
                                                       {"attn.qkv.weight", "attn.in_proj_weight"},
                                                       {"attn.qkv.bias", "attn.in_proj_bias"},
                                                       {"attn.proj.weight", "attn.out_proj.weight"},
                                                       {"attn.proj.bias", "attn.out_proj.bias"},
                                                       {"norm2.weight", "ln_2.weight"},
                                                       {"norm2.bias", "ln_2.bias"},
                                                       {"mlp.fc1.weight", "mlp.c_fc.weight"},
                                                       {"mlp.fc1.bias", "mlp.c_fc.bias"},
                                                       {"mlp.fc2.weight", "mlp.c_proj.weight"},
                                                       {"mlp.fc2.bias", "mlp.c_proj.bias"}};
  std::vector<KeyRule> rules;
  for (const auto& [mine, other] : names) rules.push_back({{ours + ".{i}." + mine}, {theirs + ".{i}." + other}});
  map.add_each_block(depth, rules);
}

// What an averaged teacher has of its own: the encoder and the head.
inline void add_encoder_and_head(KeyMap& map, int64_t depth, const std::string& vit, const std::string& head,
                                 const std::string& theirs) {
  const std::string visual = theirs + "visual.";
  map.rules.push_back({{vit + "cls_token"}, {visual + "cls_token"}});
  map.rules.push_back({{vit + "pos_embed"}, {visual + "pos_embed"}});
  map.rules.push_back({{vit + "patch_embed.weight"}, {visual + "patch_embed.proj.weight"}, {-1, 3, 16, 16}});
  map.rules.push_back({{vit + "patch_embed.bias"}, {visual + "patch_embed.proj.bias"}});
  add_timm_blocks(map, depth, vit + "blocks", visual + "blocks");
  map.add(vit + "norm", visual + "norm");
  map.add(head + "mlp.layer0", theirs + "head.mlp.0");
  map.add(head + "mlp.layer1", theirs + "head.mlp.2");
  map.add(head + "mlp.layer2", theirs + "head.mlp.4");
  map.rules.push_back({{head + "weight_v"}, {theirs + "head.last_layer.weight_v"}});
  map.rules.push_back({{head + "weight_g"}, {theirs + "head.last_layer.weight_g"}});
}

// Of a whole MaskCLIP whose objectives are called contrast, distill and words. `prefix` opens the reference's names.
inline KeyMap maskclip_names(const Json& config, const std::string& prefix) {
  KeyMap map;
  add_encoder_and_head(map, config.at("vision_depth"), "student.vit.", "objective.distill.head.", prefix);
  map.add("student.completer.embed", prefix + "decoder_embed");
  map.rules.push_back({{"student.completer.mask_token"}, {prefix + "mask_token"}});
  add_timm_blocks(map, config.at("decoder_depth"), "student.completer.blocks", prefix + "decoder_blocks");
  map.add("student.completer.norm", prefix + "decoder_norm");
  map.add("objective.distill.head.proj", prefix + "pixel_head");
  map.rules.push_back({{"text.tower.token_embedding"}, {prefix + "token_embedding.weight"}});
  map.rules.push_back({{"text.tower.pos_embed"}, {prefix + "positional_embedding"}});
  add_clip_blocks(map, config.at("text_depth"), "text.tower.blocks", prefix + "transformer.resblocks");
  map.add("text.tower.norm", prefix + "ln_final");
  for (const std::string side : {"vision", "text"}) {
    KeyRule rule{{"objective.contrast." + side + "_projection.weight"},
                 {prefix + (side == "vision" ? "image" : "text") + "_projection"}};
    rule.transposed = true;
    map.rules.push_back(rule);
  }
  map.rules.push_back({{"objective.contrast.logit_scale"}, {prefix + "logit_scale"}});
  map.rules.push_back({{"objective.words.mask_embedding"}, {prefix + "mlm_mask_embedding"}});
  add_clip_blocks(map, 4, "objective.words.blocks", prefix + "text_decoder.resblocks");
  map.add("objective.words.norm", prefix + "text_decoder.ln");
  map.rules.push_back({{"objective.words.word_bias"}, {prefix + "mlm_bias"}});
  map.rules.push_back({{"objective.words.head.weight"}, {prefix + "mlm_head.weight"}});
  map.unneeded = {{"buffer.", "fixed tables, which are compared instead"}};
  return map;
}

// Of the state that the momentum teacher keeps.
inline KeyMap maskclip_teacher_names(const Json& config) {
  KeyMap map;
  add_encoder_and_head(map, config.at("vision_depth"), "teacher.vit.", "teacher.head.", "teacher.");
  return map;
}

// [norm, sum, sum_i x_i (((7919 i) mod 1009) / 1009 - 1/2)], the checksum of micro_step.json.
inline std::array<double, 3> maskclip_checksum(const at::Tensor& tensor) {
  const at::Tensor x = tensor.detach().to(at::kDouble).contiguous().flatten();
  const at::Tensor i = at::arange(x.numel(), at::kLong);
  const at::Tensor weights = (i * 7919).remainder(1009).to(at::kDouble) / 1009 - 0.5;
  return {at::linalg_vector_norm(x).item<double>(), x.sum().item<double>(), (x * weights).sum().item<double>()};
}

// The rows of a fused attention bias that belong to the key have no gradient but rounding noise, which Adam magnifies
// (trap 1 of the README); without them.
inline bool has_key_bias(const std::string& name) {
  return name.ends_with("qkv.bias") || name.ends_with("in_proj_bias");
}
inline at::Tensor without_key_bias(const std::string& name, const at::Tensor& x) {
  if (!has_key_bias(name)) return x;
  const int64_t width = x.size(0) / 3;
  return at::cat({x.slice(0, 0, width), x.slice(0, 2 * width)});
}

// Every tensor's [norm, sum, probe] against a table by the reference's names, both ways; relative to max(1, norm). In
// float32 only the norm means anything: the others add up rounding. Key biases are noise once Adam has moved them.
inline void expect_checksums(Ledger& ledger, const std::string& group, const NamedTensors& found, const Json& table,
                             double limit, bool only_norm, bool moved) {
  std::set<std::string> compared;
  for (const auto& [name, tensor] : found) {
    compared.insert(name);
    ASSERT_TRUE(table.contains(name)) << group << ": the reference has no " << name;
    if (moved && has_key_bias(name)) continue;
    const auto mine = maskclip_checksum(tensor);
    const double scale = std::max(only_norm ? 1e-30 : 1.0, table.at(name)[0].get<double>());
    for (size_t i = 0; i < (only_norm ? 1 : 3); ++i)
      ledger.expect(group, text(name, "[", i, "]"), std::abs(mine[i] - table.at(name)[i].get<double>()) / scale, limit);
  }
  for (const auto& [name, value] : table.items()) EXPECT_TRUE(compared.contains(name)) << group << ": " << name;
}

// ---- Variants -------------------------------------------------------------------------------------------------------

struct MaskClipCase {
  std::string name;
  at::ScalarType dtype;
};

inline std::vector<MaskClipCase> maskclip_variants() {
  std::vector<MaskClipCase> out;
  for (const char* name :
       {"full", "clip_only", "clip_distill", "clip_mlm", "clip_pixels", "clip_feature_online", "distill_mse",
        "distill_all_positions", "text_decoder_depth0", "mlm_untied", "mlm_decoder_causal", "text_bidirectional",
        "contrast_masked_view", "half_sum", "lambda1_beta1"}) {
    out.push_back({name, at::kDouble});
    out.push_back({name, at::kFloat});
  }
  return out;
}

}  // namespace lacuna::testing::maskclip
