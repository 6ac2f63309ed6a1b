#pragma once
// Opening the weights that a path means, whatever wraps them.

#include <filesystem>

#include "io/tensor/tensor_file.h"

namespace lacuna {

// `path` is a file (io/tensor/tensor_file.h), an index of shards, or a folder with one: model.safetensors first, then
// the names that transformers, OpenCLIP and timm use, shards after single files and pickles after safetensors, else the
// only file of its kind; or a name in the Hugging Face cache (nn/weights/hub_cache.h). `FILE#KEY` takes the tensors
// under that dotted name.
//
// Without a key, what wraps the state dictionary is taken off: a dictionary `model`, else `state_dict`, … (kWrappers in
// the source says in which order), as long as there is one, and then `module.` or `_orig_mod.` where all names begin
// so. What else the file holds is in notes(). Throws Error for folders with several candidates or none, and for files
// without tensors.
TensorFile open_weights(const std::filesystem::path& path);

// Throws Error when a network of `parameters` numbers could not come from this file: sizes that a configuration invents
// are found out before memory is asked for. `what` names who claims them.
void check_plausible(const TensorFile& file, double parameters, const char* what);

}  // namespace lacuna
