#pragma once
// Parameter initialisation, keyed by (seed, parameter name): a weight does not depend on which other parameters exist
// or in which order modules were built.

#include "nn/torch.h"

namespace lacuna {

// CAE's scheme as its official code really applies it (cae.md section 1.9): every Linear Xavier-uniform over its stored
// matrix (fan-out of a fused qkv is 3D) with zero bias; LayerNorm 1 / 0; layer scale its initial value; the patch
// embedding, class, mask and position tokens normal with sigma 0.02 truncated at +-0.02; attention biases 0. Scalars
// keep the value they were made with. `prefix` is prepended to the names that key the draws, so that two towers of one
// model differ.
void initialize(torch::nn::Module& module, uint64_t seed, const std::string& prefix = "");

// Fills `tensor` in place (any floating dtype; drawn in double).
void fill_uniform(at::Tensor tensor, double bound, uint64_t seed, const std::string& name);
void fill_truncated_normal(at::Tensor tensor, double sigma, double cut, uint64_t seed, const std::string& name);

}  // namespace lacuna
