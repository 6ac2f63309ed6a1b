#pragma once
// The safetensors format (https://github.com/huggingface/safetensors): an 8-byte little-endian length, a JSON header of
// that length, and the tensors' bytes, row-major and little-endian.
//
// The reader trusts nothing: each rule of the format is checked before a byte is handed out, and each violation throws
// Error(kBadData) with one sentence that names file, tensor, expected and found. Values are not looked at: a BOOL may
// hold bytes other than 0 and 1. Non-goals: big-endian hosts; a file that is shrunk while it is mapped.

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/tensor/tensor_file.h"

namespace lacuna {

// True if a plausible length is followed by the first letter of a header.
bool begins_like_safetensors(std::span<const std::byte> bytes);

// The tensors of a file whose bytes these are; their spans point into `bytes`. `file` names it in errors.
TensorTable read_safetensors(std::span<const std::byte> bytes, const std::string& file);

// A tensor to be written. `data` is row-major and contiguous, and may be null when the tensor is empty.
struct TensorView {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;
  const void* data = nullptr;
};

// Writes atomically (io/files.h), straight from the tensors' memory, and returns the content's hash (ContentHash).
// Tensors are stored by falling element size, otherwise in the order given, so that each is aligned for its type. The
// header is padded to 8 bytes; `format: pt`, which loaders of transformers and timm ask for, is added if absent.
std::string write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace lacuna
