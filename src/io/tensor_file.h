#pragma once
// Named tensors in files, whoever wrote them: what every reader of weights gives and everything above it takes.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lacuna {

// The element types that are read and written. Complex, 8-bit float and sub-byte types are refused by name.
enum class DType { kBool, kU8, kI8, kI16, kU16, kI32, kU32, kI64, kU64, kF16, kBF16, kF32, kF64 };

std::size_t dtype_size(DType dtype);       // bytes of one element
std::string_view dtype_name(DType dtype);  // as safetensors spells it: "BF16"
std::optional<DType> dtype_of(std::string_view name);

struct TensorInfo {
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;  // empty for a scalar; extents may be 0
  std::span<const std::byte> data;  // exactly the tensor's bytes, row-major; may be unaligned for the dtype
};

// What a reader made of the bytes of a file: its tensors in the order of the file, and what stood beside them.
struct TensorTable {
  std::string format;  // "safetensors"
  std::vector<std::string> names;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  // What the spans of `tensors` point into, besides the mapped file: tensors that lay scattered in it.
  std::vector<std::shared_ptr<const void>> keep;

  void add(std::string name, TensorInfo tensor);
};

// A validated, memory-mapped file (safetensors), told by what it begins with. Movable; the spans it hands out live as
// long as it (or what it was moved to) does. Throws Error(kBadData), in one sentence that names file, tensor, expected
// and found, for anything that is not what it should be.
class TensorFile {
 public:
  explicit TensorFile(const std::filesystem::path& path);

  const std::vector<std::string>& names() const { return table_.names; }
  bool has(const std::string& name) const { return table_.tensors.contains(name); }
  const TensorInfo& at(const std::string& name) const;  // Error(kUser) with the nearest names if missing
  const std::map<std::string, std::string>& metadata() const { return table_.metadata; }
  const std::string& format() const { return table_.format; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  TensorTable table_;
};

// Bytes of a tensor, or nothing if an extent is negative or the bytes are more than a signed 64-bit integer counts.
// Extents of 0 do not excuse the others: whoever computes strides multiplies those.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, DType dtype);

}  // namespace lacuna
