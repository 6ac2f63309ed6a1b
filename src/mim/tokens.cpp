#include "mim/tokens.h"

#include "base/error.h"
#include "nn/vit.h"

namespace lacuna {
namespace {

// Side by side; rows of samples with different counts one after the other.
at::Tensor side_by_side(std::vector<at::Tensor> parts, int64_t batch) {
  bool even = true;
  for (const at::Tensor& part : parts) even = even && part.size(0) == batch;
  for (at::Tensor& part : parts) {
    if (even) continue;
    part = part.dim() == 3 ? part.reshape({1, -1, part.size(2)}) : part.reshape({1, -1});
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

}  // namespace

void RegionConfig::fields(Fields& f) {
  f.add("kind", kind, kRegionKinds, {.help = "which tokens are supervised"});
  f.add("cls", cls, {.help = "weight of the class token; auto is by kind", .min = 0});
  f.add("visible", visible, {.help = "weight of each visible patch; auto is by kind", .min = 0});
  f.add("masked", masked, {.help = "weight of each masked patch; auto is by kind", .min = 0});
}

Regions RegionConfig::weights() const {
  const auto any = [&](std::initializer_list<RegionKind> kinds) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end() ? 1.0 : 0.0;
  };
  using enum RegionKind;
  return {.cls = cls.value_or(any({kClass, kAll, kMaskedAndClass, kVisibleAndClass})),
          .visible = visible.value_or(any({kVisible, kPatches, kAll, kVisibleAndClass})),
          .masked = masked.value_or(any({kMasked, kPatches, kAll, kMaskedAndClass}))};
}

at::Tensor Tokens::join(const Regions& regions) const {
  std::vector<at::Tensor> parts;
  if (regions.cls > 0) parts.push_back(cls);
  if (regions.visible > 0) parts.push_back(visible);
  if (regions.masked > 0) parts.push_back(masked);
  invariant(!parts.empty(), "no region has a positive weight");
  for (const at::Tensor& part : parts) invariant(part.defined(), "a region was asked for that nobody computed");
  return side_by_side(std::move(parts), cls.defined() ? cls.size(0) : parts.back().size(0));
}

Tokens split_tokens(const at::Tensor& full, const MaskPlan& plan) {
  const at::Tensor patches = full.slice(1, 1);
  return {.cls = full.slice(1, 0, 1), .visible = plan.pick_visible(patches), .masked = plan.pick_masked(patches)};
}

at::Tensor merge_tokens(const Tokens& tokens, const MaskPlan& plan) {
  return at::cat({tokens.cls, plan.restore(tokens.visible, tokens.masked)}, 1);
}

at::Tensor token_weights(const Regions& regions, const MaskPlan& plan, const at::TensorOptions& options) {
  const at::Tensor ones = at::ones({plan.batch, plan.patches, 1}, options);
  std::vector<at::Tensor> parts;
  if (regions.cls > 0) parts.push_back(at::full({plan.batch, 1}, regions.cls, options));
  if (regions.visible > 0) parts.push_back(regions.visible * plan.pick_visible(ones).squeeze(2));
  if (regions.masked > 0) parts.push_back(regions.masked * plan.pick_masked(ones).squeeze(2));
  return side_by_side(std::move(parts), plan.batch);
}

at::Tensor token_places(const Regions& regions, const MaskPlan& plan) {
  const at::Tensor places =
      at::arange(1, 1 + plan.patches, plan.visible.options()).view({1, -1, 1}).expand({plan.batch, -1, -1});
  std::vector<at::Tensor> parts;
  if (regions.cls > 0) parts.push_back(at::zeros({plan.batch, 1}, places.options()));
  if (regions.visible > 0) parts.push_back(plan.pick_visible(places).squeeze(2));
  if (regions.masked > 0) parts.push_back(plan.pick_masked(places).squeeze(2));
  return side_by_side(std::move(parts), plan.batch);
}

}  // namespace lacuna
