#pragma once
// Finding the one file of weights that a path means, and refusing what is no safetensors file with words that help.

#include <filesystem>

#include "io/tensor_file.h"

namespace lacuna {

// `path` is a .safetensors file, or a folder with model.safetensors, OpenCLIP's names, or a single .safetensors file.
// Throws Error for anything else: pickle-based files (.pt, .pth, .bin, .pkl) with the line that converts them, files
// split in shards, folders with several candidates or none.
std::filesystem::path find_weights(const std::filesystem::path& path);

// Throws Error when a network of `parameters` numbers could not come from this file: sizes that a configuration invents
// are found out before memory is asked for. `what` names who claims them.
void check_plausible(const TensorFile& file, double parameters, const char* what);

}  // namespace lacuna
