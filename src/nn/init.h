#pragma once
// Parameter initialisation, keyed by (seed, parameter name): a weight does not depend on which other parameters exist
// or in which order modules were built.

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

enum class InitScheme { kCae, kBeit, kMae, kClip };
inline constexpr Named<InitScheme> kInitSchemes[] = {
    {InitScheme::kCae, "cae", "Xavier-uniform layers; patches and tokens truncated normal"},
    {InitScheme::kBeit, "beit", "truncated normal, smaller at the end of deeper residual branches"},
    {InitScheme::kMae, "mae", "Xavier-uniform layers and patches, normal tokens"},
    {InitScheme::kClip, "clip", "CLIP's: vision layers as PyTorch's defaults, text scaled by width and depth"}};

// Fills every parameter of `module`, found by module type and name. "Truncated" is a normal of sigma 0.02 cut at +-0.02
// (its standard deviation is 0.01079), "tokens" are class and mask tokens, learned positions and text embeddings.
//
//   cae   As its official code really applies it (cae.md section 1.9): every Linear Xavier-uniform over its stored
//         matrix (fan-out of a fused qkv is 3D), bias 0; patch embedding and tokens truncated.
//   beit  (maskdistill.md section 5.5) Linears, patch embedding and tokens truncated, bias 0; attn.proj and mlp.fc2 of
//         block i, counted from one in its list, divided by sqrt(2 i).
//   mae   (maskdistill.md section 2.3) Linears and patch embedding (flattened) Xavier-uniform, bias 0; tokens normal
//         with sigma 0.02.
//   clip  (maskclip.md section 2.3) Text tower of width T and depth L: embeddings normal with sigma 0.02, positions
//         0.01, attn.qkv T^-1/2, attn.proj and mlp.fc2 (2 L T)^-1/2, mlp.fc1 (2 T)^-1/2. Elsewhere: class token and
//         positions D^-1/2, other tokens 0.02; attn.qkv Xavier-uniform, other Linears and the patch embedding uniform
//         within fan_in^-1/2. Names that end in "projection": normal with sigma fan_in^-1/2. Biases of attention 0,
//         others uniform within fan_in^-1/2.
//
// In every scheme: LayerNorm 1 and 0; layer scale its initial value; relative position tables and attention biases 0;
// gains ("gain", "weight_g") 1; a projection head (the module that owns "weight_v") normal with sigma 0.02 cut at +-2
// and bias 0. Scalars keep the value they were made with. `prefix` is prepended to the names that key the draws, so
// that two towers of one model differ.
void initialize(torch::nn::Module& module, uint64_t seed, InitScheme scheme = InitScheme::kCae,
                const std::string& prefix = "");

// Fill `tensor` in place (any floating dtype; drawn in double).
void fill_uniform(at::Tensor tensor, double bound, uint64_t seed, const std::string& name);
void fill_normal(at::Tensor tensor, double sigma, uint64_t seed, const std::string& name);
void fill_truncated_normal(at::Tensor tensor, double sigma, double cut, uint64_t seed, const std::string& name);

}  // namespace lacuna
