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
#include <utility>
#include <vector>

namespace lacuna {

class MappedFile;

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

// Something of the file that is no tensor of the table.
struct LeftOut {
  std::string name;    // where it stands, dotted
  std::string reason;  // "complex numbers are not read"
};

// What a reader made of the bytes of a file: its tensors in the order of the file, and what stood beside them.
struct TensorTable {
  std::string format;  // "safetensors", "torch zip", "TorchScript"
  std::vector<std::string> names;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;  // of torch files: numbers and texts under dotted names
  std::vector<LeftOut> left_out;
  std::vector<std::string> notes;  // sentences a user should see
  // Dotted names of the dictionaries that the tensors' names were joined from; "" is the outermost. None for formats
  // whose names are flat.
  std::vector<std::string> dictionaries;
  // What the spans of `tensors` point into: the mapped files, and copies of tensors that lay scattered in them.
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::vector<std::shared_ptr<const void>> copies;

  void add(std::string name, TensorInfo tensor);
};

// One file by its content; of any name.
TensorTable read_tensor_file(const std::filesystem::path& path);

// A validated, memory-mapped file: safetensors, a torch zip checkpoint or a TorchScript archive, told by what it begins
// with, or the shards of an `*.index.json`. Spans live as long as it or one of its copies does. Throws Error(kBadData),
// in one sentence that names file, tensor, expected and found, for anything that is not what it should be; other
// formats are refused by name, files of torch before 1.6 with the line that converts them.
class TensorFile {
 public:
  explicit TensorFile(const std::filesystem::path& path);

  // The tensors whose names begin with `prefix` and a dot, without these; metadata stays whole.
  TensorFile within(const std::string& prefix) const;

  const std::vector<std::string>& names() const { return table_.names; }
  bool has(const std::string& name) const { return table_.tensors.contains(name); }
  const TensorInfo& at(const std::string& name) const;  // Error(kUser) with the nearest names if missing
  // For who has copied a tensor and wants one copy in memory, not two: see MappedFile::let_go.
  void let_go(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return table_.metadata; }
  const std::string& format() const { return table_.format; }
  const std::vector<LeftOut>& left_out() const { return table_.left_out; }
  const std::vector<std::string>& notes() const { return table_.notes; }
  const std::vector<std::string>& dictionaries() const { return table_.dictionaries; }
  void note(std::string sentence) { table_.notes.push_back(std::move(sentence)); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  TensorTable table_;
};

// Bytes of a tensor, or nothing if an extent is negative or the bytes are more than a signed 64-bit integer counts.
// Extents of 0 do not excuse the others: whoever computes strides multiplies those.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, DType dtype);

}  // namespace lacuna
