#pragma once
// The ViT's configuration as a list of fields, for recipes, checkpoints and exported folders.

#include "base/config.h"
#include "nn/vit.h"

namespace lacuna {

inline constexpr Named<Activation> kActivations[] = {
    {Activation::kGelu, "gelu", "exact"},
    {Activation::kGeluTanh, "gelu_tanh", "the tanh approximation"},
    {Activation::kQuickGelu, "quick_gelu", "x sigmoid(1.702 x), as OpenAI's CLIP"},
    {Activation::kSwiGlu, "swiglu", "gated by silu"}};
inline constexpr Named<QkvBias> kQkvBiases[] = {
    {QkvBias::kNone, "none"},
    {QkvBias::kQueryValue, "query_value", "none on the key, where softmax cancels it"},
    {QkvBias::kAll, "all", "as timm's ViT and CLIP"}};
inline constexpr Named<Positions> kPositions[] = {{Positions::kNone, "none"},
                                                  {Positions::kSinCos, "sin_cos", "fixed, row first"},
                                                  {Positions::kSinCosColumns, "sin_cos_columns", "fixed, column first"},
                                                  {Positions::kLearned, "learned"}};
inline constexpr Named<RelativeBiasKind> kRelativeBiases[] = {
    {RelativeBiasKind::kNone, "none"},
    {RelativeBiasKind::kShared, "shared", "one table for all blocks"},
    {RelativeBiasKind::kPerBlock, "per_block", "a table for each block"}};

// All but the two sides, which a student may leave open, and but class_token and final_norm: a network of ours has
// both.
void vit_fields(Fields& f, VitConfig& config);

}  // namespace lacuna
