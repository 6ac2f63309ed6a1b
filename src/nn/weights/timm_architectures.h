#pragma once
// What the name of an architecture stands for in timm where neither shapes nor model_args tell it.

#include <optional>
#include <string>

#include "nn/layers.h"

namespace lacuna {

struct TimmArchitecture {
  int64_t heads = 0;  // 0: one for every 64 channels, if `usual_heads`
  bool usual_heads = false;
  std::optional<double> norm_eps = {};  // none: 1e-6
  Activation activation = Activation::kGelu;
  std::optional<int64_t> rotary_grid = {};
  std::string why_not = {};  // what it computes that Vit does not; empty where Vit computes the same
};

// Facts of timm 1.0.31. An unknown name is taken for a plain one: shapes and model_args must then tell the rest.
TimmArchitecture timm_architecture(const std::string& name);

// Heads of published vision transformers of this width that have not one for every 64 channels; 0 for other widths.
int64_t unusual_heads(int64_t width);

}  // namespace lacuna
