#pragma once
// Moving weights between modules and files by name, with every tensor accounted for.

#include <string>
#include <utility>
#include <vector>

#include "io/tensor/safetensors.h"
#include "nn/torch.h"

namespace lacuna {

// Named tensors in a fixed order. Tensors are shared, not copied.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Parameters, and buffers when asked for, of `module`; each name gets `prefix` in front.
NamedTensors named_tensors(const torch::nn::Module& module, const std::string& prefix = "", bool buffers = false);
int64_t parameter_count(const torch::nn::Module& module);
const at::Tensor* find(const NamedTensors& tensors, const std::string& name);

// A tensor that owns a copy of what the file holds, in the file's dtype.
at::Tensor to_tensor(const TensorInfo& info);
at::Tensor to_tensor(const TensorFile& file, const std::string& name);  // and the file's own pages are let go
// Safetensors views of CPU copies; `keep` holds the copies alive while the views are used.
std::vector<TensorView> to_views(const NamedTensors& tensors, std::vector<at::Tensor>& keep);

// One row of a key map. Exactly one side may list several names: they are the other side's tensor cut along its first
// dimension. "0" among ours stands for a block of zeros (the key bias that softmax cancels). `{i}` counts blocks.
// Where the shapes differ but the number of elements agrees (a convolution stored flat), the file's shape is
// `their_shape`; its -1 is filled in.
struct KeyRule {
  std::vector<std::string> ours;
  std::vector<std::string> theirs;
  std::vector<int64_t> their_shape = {};
  bool transposed = false;  // the file holds our matrix with its dimensions exchanged
};

// How one family of files names its tensors: a table, used in both directions.
struct KeyMap {
  std::vector<KeyRule> rules;
  std::vector<std::pair<std::string, std::string>> unneeded;  // (name prefix in the file, reason)

  void add(const std::string& ours, const std::string& theirs);                 // ".weight" and ".bias" of a layer
  void add_each_block(int64_t depth, const std::vector<KeyRule>& block_rules);  // expands {i}
};

// Fills `destination` from the file. Every tensor of the file must be used by a rule or listed as unneeded, and every
// destination tensor must be filled; otherwise Error names the tensors, with expected and found shapes.
void import_weights(const TensorFile& file, const KeyMap& map, const NamedTensors& destination);

// The file's tensors that no rule uses and the map lists as unneeded, each with the reason.
std::vector<std::pair<std::string, std::string>> unneeded_tensors(const TensorFile& file, const KeyMap& map);

// The inverse: our tensors under the file's names (and shapes).
NamedTensors export_weights(const NamedTensors& source, const KeyMap& map);

}  // namespace lacuna
