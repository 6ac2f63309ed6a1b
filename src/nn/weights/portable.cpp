#include "nn/weights/portable.h"

#include <algorithm>

#include "base/error.h"
#include "nn/frozen_vit.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

at::Tensor& at_name(NamedTensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
  invariant(found != tensors.end(), "no tensor is called ", name);
  return found->second;
}

void take_out(NamedTensors& tensors, const std::string& name) {
  std::erase_if(tensors, [&](const auto& t) { return t.first == name; });
}

std::string attention(int64_t block) { return text("vit.blocks.", block, ".attn."); }

NamedTensors detached(NamedTensors tensors) {
  for (auto& [name, tensor] : tensors) tensor = tensor.detach();
  return tensors;
}

PortableVit from_frozen(const FrozenVit& frozen) {
  PortableVit out{.vit = frozen.vit->config(),
                  .head = {},
                  .embed = frozen.projection ? frozen.embed() : 0,
                  .stats = frozen.stats,
                  .kernel = frozen.kernel,
                  .framing = frozen.framing,
                  .tensors = detached(named_tensors(*frozen.vit, "vit.", /*buffers=*/true)),
                  .own = {},
                  .labels = {},
                  .notes = frozen.notes};
  if (frozen.projection) out.tensors.emplace_back("projection.weight", frozen.projection->weight.detach());
  return out;
}

}  // namespace

PortableVit portable(const Backbone& backbone) {
  return {.vit = backbone.config.vit,
          .head = {},
          .embed = 0,
          .stats = backbone.config.stats,
          .kernel = backbone.config.kernel,
          .framing = {},
          .tensors = detached(named_tensors(*backbone.vit, "vit.", /*buffers=*/true)),
          .own = backbone.config,
          .labels = {},
          .notes = {}};
}

PortableVit open_portable(const fs::path& path, bool with_head) {
  if (is_our_own(path)) return portable(open_backbone(path));
  const FrozenVit frozen = open_frozen_vit(path);
  if (!with_head || frozen.projection) return from_frozen(frozen);
  const FrozenClassifier whole = open_classifier(path);
  return {.vit = whole.model->vit->config(),
          .head = whole.model->config(),
          .embed = 0,
          .stats = whole.stats,
          .kernel = whole.kernel,
          .framing = whole.framing,
          .tensors = detached(named_tensors(*whole.model, "", /*buffers=*/true)),
          .own = {},
          .labels = whole.labels,
          .notes = whole.notes};
}

void drop_head(PortableVit& net) {
  std::erase_if(net.tensors, [](const auto& t) { return !t.first.starts_with("vit."); });
  net.head = {};
  net.labels.clear();
  net.embed = 0;
}

void learn_positions(PortableVit& net) {
  VitConfig& c = net.vit;
  if (c.positions == Positions::kNone) {
    const at::Tensor like = at_name(net.tensors, "vit.patch_embed.weight");
    net.tensors.emplace_back("vit.pos_embed", at::zeros({1, c.class_tokens() + c.patches(), c.width}, like.options()));
  }
  c.positions = Positions::kLearned;
}

void fill_attention_bias(PortableVit& net) {
  for (int64_t i = 0; i < net.vit.depth && net.vit.qkv_bias != QkvBias::kAll; ++i) {
    const std::string attn = attention(i);
    at::Tensor bias = at::zeros({3 * net.vit.width}, at_name(net.tensors, attn + "qkv.weight").options());
    if (net.vit.qkv_bias == QkvBias::kQueryValue) {
      const at::Tensor q = at_name(net.tensors, attn + "q_bias"), v = at_name(net.tensors, attn + "v_bias");
      bias = at::cat({q, at::zeros_like(q), v});
      for (const char* name : {"q_bias", "v_bias"}) take_out(net.tensors, attn + name);
    }
    net.tensors.emplace_back(attn + "qkv.bias", bias);
  }
  net.vit.qkv_bias = QkvBias::kAll;
}

void fill_patch_bias(PortableVit& net) {
  if (net.vit.patch_bias) return;
  const at::Tensor like = at_name(net.tensors, "vit.patch_embed.weight");
  net.tensors.emplace_back("vit.patch_embed.bias", at::zeros({net.vit.width}, like.options()));
  net.vit.patch_bias = true;
}

void move_patch_bias(PortableVit& net) {
  if (!net.vit.patch_bias) return;
  invariant(net.vit.positions == Positions::kLearned, "a bias of the patches moves into learned positions only");
  at::Tensor& positions = at_name(net.tensors, "vit.pos_embed");
  positions = positions.clone();
  positions.slice(1, net.vit.class_tokens()).add_(at_name(net.tensors, "vit.patch_embed.bias"));
  take_out(net.tensors, "vit.patch_embed.bias");
  net.vit.patch_bias = false;
}

void make_projection_head(PortableVit& net) {
  if (net.embed == 0) return;
  const at::Tensor weight = at_name(net.tensors, "projection.weight");
  take_out(net.tensors, "projection.weight");
  net.tensors.emplace_back("head.weight", weight);
  net.tensors.emplace_back("head.bias", at::zeros({net.embed}, weight.options()));
  net.head.classes = net.embed;
  net.embed = 0;
}

void fill_layer_scale(PortableVit& net) {
  if (net.vit.layer_scale) return;
  const at::Tensor like = at_name(net.tensors, "vit.patch_embed.weight");
  for (int64_t i = 0; i < net.vit.depth; ++i) {
    for (const char* name : {"ls1", "ls2"})
      net.tensors.emplace_back(text("vit.blocks.", i, ".", name, ".gamma"), at::ones({net.vit.width}, like.options()));
  }
  net.vit.layer_scale = 1.0;
}

void move_class_position(PortableVit& net) {
  if (!net.vit.class_token) return;
  at::Tensor &positions = at_name(net.tensors, "vit.pos_embed"), &token = at_name(net.tensors, "vit.cls_token");
  token = token + positions.slice(1, 0, 1);
  positions = positions.slice(1, 1).contiguous();
}

void drop_key_bias(PortableVit& net) {
  if (net.vit.qkv_bias == QkvBias::kNone) fill_attention_bias(net);
  if (net.vit.qkv_bias == QkvBias::kQueryValue) return;
  for (int64_t i = 0; i < net.vit.depth; ++i) {
    const std::string attn = attention(i);
    const std::vector<at::Tensor> parts = at_name(net.tensors, attn + "qkv.bias").chunk(3);
    take_out(net.tensors, attn + "qkv.bias");
    net.tensors.emplace_back(attn + "q_bias", parts[0]);
    net.tensors.emplace_back(attn + "v_bias", parts[2]);
  }
  net.vit.qkv_bias = QkvBias::kQueryValue;
  if (net.own) net.own->vit.qkv_bias = QkvBias::kQueryValue;
}

std::string why_not_plain(const VitConfig& c) {
  if (c.rotary_grid || c.attention_norm || c.mlp_norm)
    return "EVA-02's rotary positions and inner norms are not written";
  return "";
}

}  // namespace lacuna
