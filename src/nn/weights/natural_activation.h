#pragma once
// Which activation the weights of a CLIP were trained with, where something other than the configuration tells.

#include <filesystem>
#include <optional>
#include <string>

#include "io/tensor/tensor_file.h"
#include "nn/layers.h"

namespace lacuna {

struct NaturalActivation {
  Activation activation;
  std::string why;  // continues "...: "
};

// What the file's own tensors say (OpenAI's archives), then what names say: OpenAI's CLIPs are QuickGELU, those trained
// on LAION-2B are not. `named` is the name under which the model was stored or which its configuration carries.
std::optional<NaturalActivation> natural_activation(const TensorFile& file, const std::string& named);

// Half-precision layers beside single-precision norms, as OpenAI's convert_weights leaves a CLIP. No proof: OpenCLIP
// can store its own networks so.
bool half_converted(const TensorFile& file);

}  // namespace lacuna
