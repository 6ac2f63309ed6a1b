#include "mim/tokens.h"

#include "base/error.h"
#include "nn/vit.h"

namespace lacuna {

void Regions::fields(Fields& f) {
  f.add("cls", cls, {.help = "weight of the class token", .min = 0});
  f.add("visible", visible, {.help = "weight of each visible patch", .min = 0});
  f.add("masked", masked, {.help = "weight of each masked patch", .min = 0});
}

at::Tensor Tokens::join(const Regions& regions) const {
  std::vector<at::Tensor> parts;
  if (regions.cls > 0) parts.push_back(cls);
  if (regions.visible > 0) parts.push_back(visible);
  if (regions.masked > 0) parts.push_back(masked);
  invariant(!parts.empty(), "no region has a positive weight");
  for (const at::Tensor& part : parts) invariant(part.defined(), "a region was asked for that nobody computed");
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

Tokens split_tokens(const at::Tensor& full, const MaskPlan& plan) {
  const at::Tensor patches = full.slice(1, 1);
  return {.cls = full.slice(1, 0, 1),
          .visible = pick_rows(patches, plan.visible),
          .masked = pick_rows(patches, plan.masked)};
}

at::Tensor token_weights(const Regions& regions, const MaskPlan& plan, const at::TensorOptions& options) {
  std::vector<at::Tensor> parts;
  if (regions.cls > 0) parts.push_back(at::full({1}, regions.cls, options));
  if (regions.visible > 0) parts.push_back(at::full({plan.visible_count()}, regions.visible, options));
  if (regions.masked > 0) parts.push_back(at::full({plan.masked_count()}, regions.masked, options));
  return at::cat(parts);
}

}  // namespace lacuna
