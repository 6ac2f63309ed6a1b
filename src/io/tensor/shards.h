#pragma once
// Weights split over several files, with the index that transformers writes: `*.safetensors.index.json` or
// `pytorch_model.bin.index.json`, {"metadata": {"total_size": …}, "weight_map": {tensor: file}}.

#include <filesystem>

#include "io/tensor/tensor_file.h"

namespace lacuna {

// All shards as one table, in the order of their names. Every tensor must stand in the shard that the index names, and
// no shard may hold another. Shards are files of the index's own folder: names with separators are refused. A
// total_size that is not the sum of all tensors is a note, because published files have wrong ones.
TensorTable read_shards(const std::filesystem::path& index);

}  // namespace lacuna
