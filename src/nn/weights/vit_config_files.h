#pragma once
// What stands beside a file of weights: the configurations of transformers, timm and OpenCLIP, which tell what shapes
// cannot (heads, activation, epsilon, pixels) and must agree with what shapes do tell.

#include <filesystem>
#include <string>
#include <vector>

#include "nn/weights/preprocessing.h"
#include "nn/weights/vit_names.h"

namespace lacuna {

struct DescribedVit {
  VitMeasures measures;
  Preprocessing pixels;
  std::vector<std::string> notes;  // what no configuration says and had to be assumed
};

// Completes what the tensors of the file told by what lies beside it. `activation` overrides what the configuration
// says. Throws Error where the configuration contradicts the tensors, itself, or what is known of the weights.
DescribedVit describe(const TensorFile& file, const NamedVit& named, const VitMeasures& measures,
                      std::optional<Activation> activation = {});

// The folder where the configuration of a file of weights lies.
std::filesystem::path folder_of(const TensorFile& file);

// Heads where nothing tells them: one for every 64 channels. Adds a note; Error where the width does not divide.
int64_t assumed_heads(int64_t width, const std::string& where, std::vector<std::string>& notes);

}  // namespace lacuna
