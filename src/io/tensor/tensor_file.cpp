#include "io/tensor/tensor_file.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "io/files.h"
#include "io/tensor/foreign_format.h"
#include "io/tensor/safetensors.h"
#include "io/tensor/shards.h"
#include "io/tensor/torch_file.h"
#include "io/tensor/zip.h"

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
  ranked.reserve(names.size());
  for (const std::string& name : names) ranked.emplace_back(edit_distance(wanted, name), &name);
  const std::size_t count = std::min<std::size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end(),
                    [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "'" : ", '") + printable(*ranked[i].second) + "'";
  return out;
}

// Safetensors come first: the length that they begin with may read like another format's first bytes.
TensorTable read_by_content(std::span<const std::byte> bytes, const std::string& file) {
  if (!begins_like_safetensors(bytes)) {
    if (begins_like_zip(bytes)) return read_torch_file(bytes, file);
    refuse_foreign_format(bytes, file);
  }
  return read_safetensors(bytes, file);
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

TensorTable read_tensor_file(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  const std::span<const std::byte> bytes = file->bytes();
  TensorTable table = read_by_content(bytes, path.string());
  table.files.push_back(file);
  return table;
}

TensorFile::TensorFile(const std::filesystem::path& path)
    : path_(path), table_(path.extension() == ".json" ? read_shards(path) : read_tensor_file(path)) {}

TensorFile TensorFile::within(const std::string& prefix) const {
  const std::string start = prefix + ".";
  TensorFile out(*this);
  TensorTable& table = out.table_;
  table.names.clear();
  table.tensors.clear();
  for (const std::string& name : table_.names) {
    if (name.starts_with(start)) table.add(name.substr(start.size()), table_.tensors.at(name));
  }
  std::erase_if(table.left_out, [&](const LeftOut& each) { return !each.name.starts_with(start); });
  for (LeftOut& each : table.left_out) each.name.erase(0, start.size());
  table.dictionaries.clear();
  for (const std::string& name : table_.dictionaries) {
    if (name == prefix) table.dictionaries.emplace_back();
    if (name.starts_with(start)) table.dictionaries.push_back(name.substr(start.size()));
  }
  return out;
}

void TensorFile::let_go(const std::string& name) const {
  const std::span<const std::byte> data = at(name).data;
  for (const auto& file : table_.files) file->let_go(data);
}

const TensorInfo& TensorFile::at(const std::string& name) const {
  const auto found = table_.tensors.find(name);
  if (found != table_.tensors.end()) return found->second;
  for (const LeftOut& each : table_.left_out) {
    if (each.name == name) fail(path_.string(), ": the tensor '", printable(name), "' was not read: ", each.reason);
  }
  const std::string nearest = nearest_names(name, table_.names);
  fail(path_.string(), ": expected a tensor '", printable(name), "', found none among ", table_.names.size(),
       nearest.empty() ? "" : "; the nearest names are ", nearest);
}

}  // namespace lacuna
