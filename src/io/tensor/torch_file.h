#pragma once
// What torch.save writes since 1.6, and TorchScript archives: a ZIP archive with one folder, in it `data.pkl` and the
// storages under `data/` (https://docs.pytorch.org/docs/stable/notes/serialization.html). The pickle is read as inert
// data (io/tensor/pickle.h), code of TorchScript is not looked at except for one number.

#include <cstddef>
#include <span>
#include <string>

#include "io/tensor/tensor_file.h"

namespace lacuna {

// All tensors of the file under dotted names: keys of dictionaries, places in lists, attributes of modules (parameters,
// buffers that are stored, submodules, as state_dict() would name them). Numbers and texts become metadata. Objects of
// classes without a meaning here, and tensors of types that are not read, are left out by name. Spans point into
// `bytes`, except for tensors that lie scattered in their storage: these are copied, all of them together into at most
// twice the size of the file and 64 MiB.
//
// Metadata of TorchScript: `torchscript.quick_gelu` is "true" if its code multiplies by 1.702, else "false".
TensorTable read_torch_file(std::span<const std::byte> bytes, const std::string& file);

}  // namespace lacuna
