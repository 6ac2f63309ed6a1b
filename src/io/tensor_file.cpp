#include "io/tensor_file.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "io/files.h"
#include "io/safetensors.h"

namespace lacuna {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<DTypeRow, 13> kDTypes = {{{DType::kBool, "BOOL", 1},
                                               {DType::kU8, "U8", 1},
                                               {DType::kI8, "I8", 1},
                                               {DType::kI16, "I16", 2},
                                               {DType::kU16, "U16", 2},
                                               {DType::kI32, "I32", 4},
                                               {DType::kU32, "U32", 4},
                                               {DType::kI64, "I64", 8},
                                               {DType::kU64, "U64", 8},
                                               {DType::kF16, "F16", 2},
                                               {DType::kBF16, "BF16", 2},
                                               {DType::kF32, "F32", 4},
                                               {DType::kF64, "F64", 8}}};

const DTypeRow& row_of(DType dtype) {
  const DTypeRow& row = kDTypes[static_cast<std::size_t>(dtype)];
  invariant(row.dtype == dtype, "the dtype table is out of order");
  return row;
}

// Up to three names, for a message.
std::string nearest_names(const std::string& wanted, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, const std::string*>> ranked;
  for (const std::string& name : names) ranked.emplace_back(edit_distance(wanted, name), &name);
  const std::size_t count = std::min<std::size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end(),
                    [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "'" : ", '") + printable(*ranked[i].second) + "'";
  return out;
}

}  // namespace

std::size_t dtype_size(DType dtype) { return row_of(dtype).size; }

std::string_view dtype_name(DType dtype) { return row_of(dtype).name; }

std::optional<DType> dtype_of(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, DType dtype) {
  auto bytes = static_cast<std::int64_t>(dtype_size(dtype));
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, std::max<std::int64_t>(extent, 1), &bytes)) return std::nullopt;
    empty = empty || extent == 0;
  }
  return empty ? 0 : static_cast<std::uint64_t>(bytes);
}

void TensorTable::add(std::string name, TensorInfo tensor) {
  tensors.emplace(name, std::move(tensor));
  names.push_back(std::move(name));
}

TensorFile::TensorFile(const std::filesystem::path& path) : path_(path) {
  const auto file = std::make_shared<MappedFile>(path);
  table_ = read_safetensors(file->bytes(), path.string());
  table_.keep.push_back(file);
}

const TensorInfo& TensorFile::at(const std::string& name) const {
  const auto found = table_.tensors.find(name);
  if (found != table_.tensors.end()) return found->second;
  const std::string nearest = nearest_names(name, table_.names);
  fail(path_.string(), ": expected a tensor '", printable(name), "', found none among ", table_.names.size(),
       nearest.empty() ? "" : "; the nearest names are ", nearest);
}

}  // namespace lacuna
