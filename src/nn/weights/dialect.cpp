#include "nn/weights/dialect.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "nn/weights/vit_names.h"

namespace lacuna {
namespace {

constexpr const char* kTimmName = "ViT or BEiT (timm)";
constexpr const char* kSharedTable = "vit.relative_biases.0.relative_position_bias_table";
constexpr const char* kBlockTable = "vit.relative_biases.{i}.relative_position_bias_table";

}  // namespace

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
