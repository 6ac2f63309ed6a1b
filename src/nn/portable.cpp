#include "nn/portable.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "nn/frozen_vit.h"
#include "nn/vit_names.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTimmName = "ViT or BEiT (timm)";
constexpr const char* kSharedTable = "vit.relative_biases.0.relative_position_bias_table";
constexpr const char* kBlockTable = "vit.relative_biases.{i}.relative_position_bias_table";

at::Tensor& at_name(NamedTensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
  invariant(found != tensors.end(), "no tensor is called ", name);
  return found->second;
}

void erase(NamedTensors& tensors, const std::string& name) {
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
                  .tensors = detached(named_tensors(*frozen.vit, "vit.", /*buffers=*/true)),
                  .own = {},
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
          .tensors = detached(named_tensors(*backbone.vit, "vit.", /*buffers=*/true)),
          .own = backbone.config,
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
          .tensors = detached(named_tensors(*whole.model, "", /*buffers=*/true)),
          .own = {},
          .notes = whole.notes};
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
      for (const char* name : {"q_bias", "v_bias"}) erase(net.tensors, attn + name);
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

void fill_layer_scale(PortableVit& net) {
  if (net.vit.layer_scale) return;
  const at::Tensor like = at_name(net.tensors, "vit.patch_embed.weight");
  for (int64_t i = 0; i < net.vit.depth; ++i) {
    for (const char* name : {"ls1", "ls2"})
      net.tensors.emplace_back(text("vit.blocks.", i, ".", name, ".gamma"), at::ones({net.vit.width}, like.options()));
  }
  net.vit.layer_scale = 1.0;
}

void drop_key_bias(PortableVit& net) {
  if (net.vit.qkv_bias == QkvBias::kNone) fill_attention_bias(net);
  if (net.vit.qkv_bias == QkvBias::kQueryValue) return;
  for (int64_t i = 0; i < net.vit.depth; ++i) {
    const std::string attn = attention(i);
    const std::vector<at::Tensor> parts = at_name(net.tensors, attn + "qkv.bias").chunk(3);
    erase(net.tensors, attn + "qkv.bias");
    net.tensors.emplace_back(attn + "q_bias", parts[0]);
    net.tensors.emplace_back(attn + "v_bias", parts[2]);
  }
  net.vit.qkv_bias = QkvBias::kQueryValue;
  if (net.own) net.own->vit.qkv_bias = QkvBias::kQueryValue;
}

std::string why_not_plain(const VitConfig& c) {
  if (c.registers > 0) return "registers are not written; the class that holds them has other positions";
  if (c.rotary_grid || c.attention_norm || c.mlp_norm)
    return "EVA-02's rotary positions and inner norms are not written";
  return "";
}

const Family& family_called(const std::string& name) {
  const auto& families = vit_families();
  const auto found = std::find_if(families.begin(), families.end(), [&](const Family& f) { return f.name == name; });
  invariant(found != families.end(), "no family is called ", name);
  return *found;
}

Dialect timm_dialect(const VitConfig& vit) {
  const bool beit = vit.relative_bias != RelativeBiasKind::kNone;
  return {
      .family = &family_called(kTimmName),
      .prefix = "",
      .without = beit ? std::vector<std::string>{".ls1.", ".ls2."} : std::vector<std::string>{".gamma_1", ".gamma_2"}};
}

KeyMap names_in(const Dialect& dialect, const VitConfig& vit, const NamedTensors& source) {
  std::vector<NameRow> rows = dialect.family->rows;
  const bool shared = vit.relative_bias == RelativeBiasKind::kShared;
  std::erase_if(rows, [&](const NameRow& row) { return row.ours[0] == (shared ? kBlockTable : kSharedTable); });
  KeyMap all, out;
  add_rows(all, rows, dialect.prefix, vit, vit.depth);
  std::set<std::string> named;
  for (KeyRule& rule : all.rules) {
    const bool unwanted = std::any_of(dialect.without.begin(), dialect.without.end(), [&](const std::string& part) {
      return rule.theirs[0].find(part) != std::string::npos;
    });
    if (unwanted || find(source, rule.ours[0]) == nullptr || !named.insert(rule.ours[0]).second) continue;
    out.rules.push_back(std::move(rule));
  }
  return out;
}

NamedTensors named_in(const Dialect& dialect, const PortableVit& net, const std::string& target) {
  const KeyMap map = names_in(dialect, net.vit, net.tensors);
  std::set<std::string> named;
  for (const KeyRule& rule : map.rules) named.insert(rule.ours.begin(), rule.ours.end());
  for (const auto& [name, tensor] : net.tensors)
    check(named.contains(name), target, " has no place for the tensor ", name, " of this network");
  NamedTensors out = export_weights(net.tensors, map);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

}  // namespace lacuna
