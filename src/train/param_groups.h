#pragma once
// Layer-wise learning-rate decay of fine-tuning (BEiT): the nearer to the pixels, the smaller the rate.

#include <cstdint>
#include <functional>
#include <string>

namespace lacuna {

// Factor of the learning rate by parameter name.
using LrScale = std::function<double(const std::string&)>;

// How many tables of relative positions a Vit has: their names alone do not tell.
enum class BiasTables { kOneEach, kShared };

// Layer of a parameter of a Vit of `depth` blocks, by its name within the Vit ("blocks.3.norm1.weight"): 0 for what
// makes the first tokens (class and mask token, positions, patch embedding), i + 1 for block i and its table of
// relative positions, depth + 1 for all else (norms outside the blocks, a shared table).
std::int64_t layer_id(const std::string& name, std::int64_t depth, BiasTables tables = BiasTables::kOneEach);

// decay ^ (depth + 1 - id).
double layer_scale(std::int64_t id, std::int64_t depth, double decay);

// For a module that holds the Vit under `vit_prefix` ("student.vit."; "" when the Vit's names are bare): names below it
// by their layer, everything else (heads) 1.
LrScale layer_decay(std::string vit_prefix, std::int64_t depth, double decay, BiasTables tables = BiasTables::kOneEach);

}  // namespace lacuna
