#pragma once
// From the tree of values of a torch pickle to tensors under dotted names.

#include <optional>
#include <string>

#include "io/tensor/pickle.h"
#include "io/tensor/tensor_file.h"
#include "io/tensor/torch_tensors.h"

namespace lacuna {

// Adds all that `root` holds to `table`. Steps, depth and names are counted: a pickle whose values are shared so that
// they unfold without end is refused. `file` names the file in errors.
void add_torch_values(TensorTable& table, const PickleValue& root, TorchTensors& tensors, const std::string& file);

// A number, text or plain list as text ("0.05", "cae_base", "[8, 8]", "null"), or nothing if the value is none of them.
std::optional<std::string> plain_text(const PickleValue& value);

}  // namespace lacuna
