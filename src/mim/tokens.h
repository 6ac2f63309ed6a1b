#pragma once
// Tokens sorted by region: what the student knows of an image, what a head predicts, what a teacher says.

#include "base/config.h"
#include "mim/mask.h"
#include "nn/torch.h"

namespace lacuna {

// One number per region. As weights: a region of weight 0 is neither computed nor supervised.
struct Regions {
  double cls = 0;
  double visible = 0;
  double masked = 0;

  bool operator==(const Regions&) const = default;
};

enum class RegionKind { kMasked, kVisible, kPatches, kAll, kClass, kMaskedAndClass, kVisibleAndClass };
inline constexpr Named<RegionKind> kRegionKinds[] = {
    {RegionKind::kMasked, "masked", "the patches the student did not see"},
    {RegionKind::kVisible, "visible", "the patches it saw"},
    {RegionKind::kPatches, "patches", "all patches"},
    {RegionKind::kAll, "all", "all patches and the class token"},
    {RegionKind::kClass, "cls", "the class token"},
    {RegionKind::kMaskedAndClass, "masked_and_cls"},
    {RegionKind::kVisibleAndClass, "visible_and_cls"}};

// A named choice of regions at weight 1, and weights that override it one by one.
struct RegionConfig {
  RegionKind kind = RegionKind::kMasked;
  std::optional<double> cls, visible, masked;

  void fields(Fields& f);
  Regions weights() const;
};

// Where every sample has the same counts, tokens are [B,R,D]. Where they differ (a mask generator may undershoot), the
// samples' rows stand one after the other, [1,sum R,D].
struct Tokens {
  at::Tensor cls;      // [B,1,D]; undefined when the network has no class token
  at::Tensor visible;  // [B,V,D]
  at::Tensor masked;   // [B,M,D]; undefined until the student completed it

  // The regions of positive weight side by side, in the order class, visible, masked: [B,R,D].
  at::Tensor join(const Regions& regions) const;
};

// Splits a full grid with class token, [B,1+N,D], by the plan.
Tokens split_tokens(const at::Tensor& full, const MaskPlan& plan);

// The inverse: [B,1+N,D].
at::Tensor merge_tokens(const Tokens& tokens, const MaskPlan& plan);

// The weight of each of the tokens that Tokens::join lines up, [B,R] or, for uneven plans, [1,sum R].
at::Tensor token_weights(const Regions& regions, const MaskPlan& plan, const at::TensorOptions& options);

// The same tokens' places in the grid, class token 0, patch p 1 + p. int64, shaped as the weights.
at::Tensor token_places(const Regions& regions, const MaskPlan& plan);

}  // namespace lacuna
