#include "io/tensor/torch_tensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMaxRank = 64;  // what LibTorch can index
constexpr int kMaxWrappings = 4;

struct TypeRow {
  std::string_view storage, scalar;  // torch.FloatStorage, torch.float32
  DType dtype;
};

constexpr TypeRow kTypes[] = {{"FloatStorage", "float32", DType::kF32},
                              {"DoubleStorage", "float64", DType::kF64},
                              {"HalfStorage", "float16", DType::kF16},
                              {"BFloat16Storage", "bfloat16", DType::kBF16},
                              {"LongStorage", "int64", DType::kI64},
                              {"IntStorage", "int32", DType::kI32},
                              {"ShortStorage", "int16", DType::kI16},
                              {"CharStorage", "int8", DType::kI8},
                              {"ByteStorage", "uint8", DType::kU8},
                              {"BoolStorage", "bool", DType::kBool},
                              {"", "uint16", DType::kU16},
                              {"", "uint32", DType::kU32},
                              {"", "uint64", DType::kU64}};

std::optional<DType> type_of(std::string_view TypeRow::*column, std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (!name.empty() && row.*column == name) return row.dtype;
  }
  return std::nullopt;
}

bool is_plain_tensor_class(const PickleValue& value) {
  const std::string name = value.is(Kind::kGlobal) ? value.class_name() : "";
  return name == "torch.Tensor" || name == "torch.nn.parameter.Parameter" || name == "torch.nn.parameter.Buffer";
}

// A tuple or list of integers from 0 on.
std::optional<std::vector<std::int64_t>> integers(const PickleValue& value) {
  if ((!value.is(Kind::kTuple) && !value.is(Kind::kList)) || value.items.size() > kMaxRank) return std::nullopt;
  std::vector<std::int64_t> out;
  for (const PickleValue* item : value.items) {
    if (!item->is(Kind::kInt) || item->integer < 0) return std::nullopt;
    out.push_back(item->integer);
  }
  return out;
}

// The last argument of a tensor: a dictionary of what torch does to its numbers when they are asked for.
bool is_negated(const PickleValue::Items& arguments) {
  const PickleValue* marks = arguments.back();
  for (const char* mark : {"neg", "conj"}) {
    const PickleValue* set = marks->find(mark);
    if (set != nullptr && (!set->is(Kind::kBool) || set->integer != 0)) return true;
  }
  return false;
}

std::int64_t count(const std::vector<std::int64_t>& shape) {
  std::int64_t out = 1;
  for (const std::int64_t extent : shape) out *= extent;  // byte_count has proved that this does not overflow
  return out;
}

bool is_row_major(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i > 0; --i) {
    if (shape[i - 1] != 1 && strides[i - 1] != expected) return false;
    expected *= shape[i - 1];
  }
  return true;
}

// Elements from the first to the last of a tensor, both included, or nothing if that overflows.
std::optional<std::int64_t> reach(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t step = 0;
    if (shape[i] == 0) return 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) || __builtin_add_overflow(last, step, &last))
      return std::nullopt;
  }
  std::int64_t count = 0;
  return __builtin_add_overflow(last, 1, &count) ? std::nullopt : std::optional(count);
}

// Copies row by row; `Element` only says how many bytes move together. Offsets wrap around where a dimension of extent
// 1 has an absurd stride, and come back before they are used.
template <class Element>
void copy_rows(std::byte* out, const std::byte* in, const std::vector<std::int64_t>& shape,
               const std::vector<std::int64_t>& strides) {
  const std::size_t outer = shape.size() - 1;
  const auto step = static_cast<std::uint64_t>(strides[outer]), length = static_cast<std::uint64_t>(shape[outer]);
  std::vector<std::int64_t> index(outer, 0);
  std::uint64_t row = 0;  // offset of the row in elements
  while (true) {
    for (std::uint64_t i = 0; i < length; ++i, out += sizeof(Element))
      std::memcpy(out, in + (row + i * step) * sizeof(Element), sizeof(Element));
    std::size_t d = outer;
    for (; d > 0; --d) {
      const auto stride = static_cast<std::uint64_t>(strides[d - 1]);
      row += stride;
      if (++index[d - 1] < shape[d - 1]) break;
      row -= stride * static_cast<std::uint64_t>(shape[d - 1]);
      index[d - 1] = 0;
    }
    if (d == 0) return;
  }
}

}  // namespace

template <class... Parts>
void TorchTensors::refuse(const std::string& name, const Parts&... parts) const {
  fail_data(file_, ": tensor '", printable(name), "': ", parts...);
}

bool TorchTensors::is_tensor(const PickleValue& value) {
  switch (value.made_by()) {
    case PickleClass::kTensor:
    case PickleClass::kTensorV3:
    case PickleClass::kParameter:
    case PickleClass::kTensorSubclass:
    case PickleClass::kUnreadTensor:
      return true;
    default:
      return false;
  }
}

std::variant<TensorInfo, Unread> TorchTensors::read(const PickleValue& value, const std::string& name) {
  return rebuild(value.made_by(), value.arguments(), name, 0);
}

std::variant<TensorInfo, Unread> TorchTensors::rebuild(PickleClass how, const PickleValue::Items& arguments,
                                                       const std::string& name, int depth) {
  if (depth > kMaxWrappings) refuse(name, "is wrapped in itself");
  const auto expect = [&](std::size_t least) {
    if (arguments.size() < least) refuse(name, "expected ", least, " arguments, found ", arguments.size());
  };
  switch (how) {
    case PickleClass::kTensor:
      expect(4);
      return from_storage(arguments, nullptr, name);
    case PickleClass::kTensorV3:
      expect(7);
      return from_storage(arguments, arguments[6], name);
    case PickleClass::kParameter:
      expect(1);
      if (!is_tensor(*arguments[0])) return Unread{"a parameter that holds no tensor"};
      return rebuild(arguments[0]->made_by(), arguments[0]->arguments(), name, depth + 1);
    case PickleClass::kTensorSubclass:
      expect(3);
      if (!arguments[0]->is(Kind::kGlobal) || !arguments[2]->is(Kind::kTuple)) refuse(name, "is made of no tensor");
      if (!is_plain_tensor_class(*arguments[1]))
        return Unread{"a tensor of the class " + printable(arguments[1]->class_name()) + ", which is not known"};
      return rebuild(arguments[0]->meaning, arguments[2]->items, name, depth + 1);
    default:
      return Unread{"a quantised, sparse or nested tensor, or one without storage; only plain tensors are read"};
  }
}

std::span<const std::byte> TorchTensors::storage(const PickleValue& id, std::uint64_t element,
                                                 const std::string& name) const {
  const PickleValue &key = *id.items[2], &numbers = *id.items[4];
  if (!key.is(Kind::kText) || !numbers.is(Kind::kInt) || numbers.integer < 0)
    refuse(name, "expected the key and the length of a storage");
  const std::string record = folder_ + std::string(key.bytes);
  const ZipEntry* entry = archive_.find_stored(record);
  if (entry == nullptr) refuse(name, "its storage '", printable(record), "' is not in the archive");
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(numbers.integer), element, &bytes) ||
      bytes != entry->data.size()) {
    refuse(name, "expected a storage of ", numbers.integer, " x ", element, " bytes in '", printable(record),
           "', found ", entry->data.size());
  }
  return entry->data;
}

std::variant<TensorInfo, Unread> TorchTensors::from_storage(const PickleValue::Items& arguments,
                                                            const PickleValue* scalar_type, const std::string& name) {
  const PickleValue* id = arguments[0]->is(Kind::kPersistent) ? arguments[0]->items[0] : nullptr;
  if (id == nullptr || !id->is(Kind::kTuple) || id->items.size() < 5 || !id->items[0]->is(Kind::kText) ||
      id->items[0]->bytes != "storage" || !id->items[1]->is(Kind::kGlobal) ||
      id->items[1]->meaning != PickleClass::kStorage) {
    refuse(name, "expected a storage of torch, found something else");
  }
  const PickleValue& type = scalar_type != nullptr ? *scalar_type : *id->items[1];
  const std::optional<DType> dtype = type_of(scalar_type != nullptr ? &TypeRow::scalar : &TypeRow::storage, type.name);
  if (!dtype) return Unread{printable(type.class_name()) + " is a type of numbers that is not read"};

  if (is_negated(arguments))
    return Unread{"a view that torch negates or conjugates when it is read; save a copy of it"};

  const auto shape = integers(*arguments[2]), strides = integers(*arguments[3]);
  if (!shape || !strides || shape->size() != strides->size())
    refuse(name, "expected sizes and strides of up to ", kMaxRank, " dimensions that are not negative");
  if (!arguments[1]->is(Kind::kInt) || arguments[1]->integer < 0)
    refuse(name, "expected an offset into its storage that is not negative");
  TensorInfo out{*dtype, *shape, {}};
  const std::size_t element = dtype_size(*dtype);
  const std::uint64_t unit = id->items[1]->name == "UntypedStorage" ? 1 : element;
  const std::span<const std::byte> all = storage(*id, unit, name);
  const std::int64_t held = static_cast<std::int64_t>(all.size() / element), offset = arguments[1]->integer;
  const std::optional<std::uint64_t> bytes = byte_count(*shape, *dtype);
  const std::optional<std::int64_t> needed = reach(*shape, *strides);
  if (!bytes || !needed || offset > held || *needed > held - offset) {
    refuse(name, "its sizes and strides reach beyond its storage of ", held, " numbers");
  }
  const auto rest = all.subspan(static_cast<std::size_t>(offset) * element);
  out.data = *bytes == 0 || is_row_major(*shape, *strides) ? rest.first(*bytes) : gather(rest, out, *strides, name);
  return out;
}

std::span<const std::byte> TorchTensors::gather(std::span<const std::byte> storage, const TensorInfo& tensor,
                                                const std::vector<std::int64_t>& strides, const std::string& name) {
  const std::size_t element = dtype_size(tensor.dtype);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count(tensor.shape)) * element;
  if (bytes > copy_budget_) {
    refuse(name, "its ", bytes, " bytes lie scattered in its storage, and copies of such tensors would be larger than ",
           "twice the file and 64 MiB; save it with .contiguous()");
  }
  copy_budget_ -= bytes;
  const auto copy = std::make_shared<std::vector<std::byte>>(bytes);
  const auto rows = element == 1   ? copy_rows<std::uint8_t>
                    : element == 2 ? copy_rows<std::uint16_t>
                    : element == 4 ? copy_rows<std::uint32_t>
                                   : copy_rows<std::uint64_t>;
  rows(copy->data(), storage.data(), tensor.shape, strides);
  copies_.push_back(copy);
  return *copy;
}

}  // namespace lacuna
