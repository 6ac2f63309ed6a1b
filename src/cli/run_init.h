#pragma once
// Starting a run from weights that exist (`init=`): a run, a checkpoint or a whole state that was exported gives every
// part that it shares with the new run; anything else that opens as a ViT gives the encoder.

#include <filesystem>
#include <string>
#include <vector>

#include "cli/run_config.h"
#include "mim/method.h"

namespace lacuna {

// The tokenizer of the text tower that a run starts from; empty where `init` gives none.
std::filesystem::path init_tokenizer(const std::filesystem::path& init);

// Fills the method's tensors by name and shape, then lets the twins of the student begin anew. A part that both have
// must fit to the last tensor unless `fit` is kPartial; a part that only one of them has keeps its first values, or is
// left over. Returns what became of the parts, for the first screen. Throws Error that names what does not fit.
std::vector<std::string> start_from(Method& method, const std::filesystem::path& path, InitFit fit, uint64_t seed);

}  // namespace lacuna
