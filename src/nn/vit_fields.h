#pragma once
// The ViT's configuration as a list of fields, for recipes, checkpoints and exported folders.

#include "base/config.h"
#include "nn/vit.h"

namespace lacuna {

inline constexpr Named<Activation> kActivations[] = {
    {Activation::kGelu, "gelu", "exact"},
    {Activation::kGeluTanh, "gelu_tanh", "the tanh approximation"},
    {Activation::kQuickGelu, "quick_gelu", "x sigmoid(1.702 x), as OpenAI's CLIP"}};
inline constexpr Named<QkvBias> kQkvBiases[] = {
    {QkvBias::kNone, "none"},
    {QkvBias::kQueryValue, "query_value", "none on the key, where softmax cancels it"},
    {QkvBias::kAll, "all", "as timm's ViT and CLIP"}};
inline constexpr Named<Positions> kPositions[] = {{Positions::kSinCos, "sin_cos", "fixed"},
                                                  {Positions::kLearned, "learned"}};

// All but the two sides, which a student may leave open.
void vit_fields(Fields& f, VitConfig& config);

}  // namespace lacuna
