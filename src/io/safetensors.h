#pragma once
// The safetensors format (https://github.com/huggingface/safetensors): an 8-byte little-endian length, a JSON header of
// that length, and the tensors' bytes, row-major and little-endian.
//
// The reader trusts nothing: each rule of the format is checked before a byte is handed out, and each violation throws
// Error(kBadData) with one sentence that names file, tensor, expected and found. Values are not looked at: a BOOL may
// hold bytes other than 0 and 1. Non-goals: big-endian hosts; a file that is shrunk while it is mapped.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/files.h"

namespace lacuna {

// The element types that are read and written. Complex, 8-bit float and sub-byte types are refused by name.
enum class DType { kBool, kU8, kI8, kI16, kU16, kI32, kU32, kI64, kU64, kF16, kBF16, kF32, kF64 };

std::size_t dtype_size(DType dtype);       // bytes of one element
std::string_view dtype_name(DType dtype);  // as the format spells it: "BF16"

struct TensorInfo {
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;  // empty for a scalar; extents may be 0
  std::span<const std::byte> data;  // exactly the tensor's bytes; may be unaligned for the dtype in foreign files
};

// A validated, memory-mapped file. Movable; the spans it hands out live as long as it (or what it was moved to) does.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<std::string>& names() const { return names_; }  // in the order of the bytes in the file
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const TensorInfo& at(const std::string& name) const;  // Error(kUser) with the nearest names if missing
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::vector<std::string> names_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

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
