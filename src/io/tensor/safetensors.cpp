#include "io/tensor/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they lie in the file");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxNameBytes = 4096;
constexpr std::size_t kMaxTensors = 1'000'000;
constexpr std::size_t kMaxRank = 64;  // what LibTorch can index
constexpr const char* kMetadataKey = "__metadata__";

// Types the format knows and this program has no use for.
constexpr std::array<std::string_view, 9> kRefusedDTypes = {
    "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "C64", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};

std::string quote(std::string_view name) { return "'" + printable(name) + "'"; }

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return out + "]";
}

struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::uint64_t>> offsets;
};

// Takes the header in as parser events: duplicate keys and wrong nesting are seen where they occur, and nothing grows
// beyond what the file's own bytes pay for.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string file) : file_(std::move(file)) {}

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a boolean"); }
  bool number_integer(number_integer_t value) override { refuse(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& digits) override { refuse(printable(digits, 40)); }
  bool binary(binary_t&) override { refuse("binary data"); }
  bool number_unsigned(number_unsigned_t value) override;
  bool string(string_t& value) override;
  bool start_object(std::size_t) override;
  bool key(string_t& key) override;
  bool end_object() override;
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& fault) override;

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

 private:
  enum class Place { kOutside, kRoot, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] void refuse(const std::string& found) const;
  std::string where() const;
  std::string expected() const;
  DType read_dtype(const std::string& name) const;

  std::string file_;
  Place place_ = Place::kOutside;
  std::string root_key_;  // a tensor's name, or kMetadataKey
  std::string inner_key_;
  std::set<std::string> seen_;
};

std::string HeaderReader::where() const {
  if (place_ == Place::kOutside || root_key_.empty()) return "the header";
  return inner_key_.empty() ? quote(root_key_) : quote(inner_key_) + " of " + quote(root_key_);
}

std::string HeaderReader::expected() const {
  switch (place_) {
    case Place::kOutside:
      return "one JSON object";
    case Place::kRoot:
      return "an object";
    case Place::kMetadata:
      return "a string";
    case Place::kTensor:
      return inner_key_ == "dtype" ? "a string" : "an array of integers";
    case Place::kShape:
    case Place::kOffsets:
      return "integers from 0 to 2^63 - 1";
  }
  return {};
}

void HeaderReader::refuse(const std::string& found) const {
  fail_data(file_, ": ", where(), ": expected ", expected(), ", found ", found);
}

bool HeaderReader::number_unsigned(number_unsigned_t value) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) refuse(std::to_string(value));
  Entry* entry = entries.empty() ? nullptr : &entries.back();
  if (place_ == Place::kShape) {
    if (entry->shape->size() == kMaxRank)
      fail_data(file_, ": ", where(), ": expected at most ", kMaxRank, " dimensions");
    entry->shape->push_back(static_cast<std::int64_t>(value));
  } else if (place_ == Place::kOffsets) {
    if (entry->offsets->size() == 2) fail_data(file_, ": ", where(), ": expected two integers, found more");
    entry->offsets->push_back(value);
  } else {
    refuse("a number");
  }
  return true;
}

bool HeaderReader::string(string_t& value) {
  if (place_ == Place::kMetadata) {
    metadata[inner_key_] = std::move(value);
  } else if (place_ == Place::kTensor && inner_key_ == "dtype") {
    entries.back().dtype = read_dtype(value);
  } else {
    refuse("a string");
  }
  return true;
}

DType HeaderReader::read_dtype(const std::string& name) const {
  if (const std::optional<DType> dtype = dtype_of(name)) return *dtype;
  if (std::find(kRefusedDTypes.begin(), kRefusedDTypes.end(), name) != kRefusedDTypes.end()) {
    fail_data(file_, ": ", where(), ": ", name, " is not supported; convert the tensor to F16, BF16 or F32 first");
  }
  std::string known;
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i)
    known += (known.empty() ? "" : ", ") + std::string(dtype_name(static_cast<DType>(i)));
  fail_data(file_, ": ", where(), ": expected one of ", known, ", found ", quote(name));
}

bool HeaderReader::start_object(std::size_t) {
  if (place_ == Place::kOutside) {
    place_ = Place::kRoot;
  } else if (place_ == Place::kRoot) {
    place_ = root_key_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
    if (place_ == Place::kTensor) entries.push_back({.name = root_key_, .dtype = {}, .shape = {}, .offsets = {}});
  } else {
    refuse("an object");
  }
  return true;
}

bool HeaderReader::key(string_t& key) {
  if (key.size() > kMaxNameBytes) {
    fail_data(file_, ": expected names of at most ", kMaxNameBytes, " bytes, found one of ", key.size(), ": ",
              quote(key));
  }
  if (place_ == Place::kRoot) {
    if (!seen_.insert(key).second) fail_data(file_, ": expected each name once, found ", quote(key), " twice");
    if (seen_.size() > kMaxTensors) fail_data(file_, ": expected at most ", kMaxTensors, " tensors, found more");
    root_key_ = std::move(key);
    return true;
  }
  inner_key_ = std::move(key);
  bool again = false;
  if (place_ == Place::kMetadata) {
    again = metadata.contains(inner_key_);
  } else {
    const Entry& entry = entries.back();
    if (inner_key_ == "dtype") {
      again = entry.dtype.has_value();
    } else if (inner_key_ == "shape") {
      again = entry.shape.has_value();
    } else if (inner_key_ == "data_offsets") {
      again = entry.offsets.has_value();
    } else {
      fail_data(file_, ": ", quote(root_key_), ": expected the keys dtype, shape and data_offsets, found ",
                quote(inner_key_));
    }
  }
  if (again) fail_data(file_, ": ", quote(root_key_), ": expected each key once, found ", quote(inner_key_), " twice");
  return true;
}

bool HeaderReader::end_object() {
  inner_key_.clear();
  if (place_ == Place::kTensor) {
    const Entry& entry = entries.back();
    const char* missing = !entry.dtype ? "dtype" : !entry.shape ? "shape" : !entry.offsets ? "data_offsets" : nullptr;
    if (missing != nullptr) fail_data(file_, ": ", quote(root_key_), ": expected the key ", missing, ", found none");
  }
  place_ = place_ == Place::kRoot ? Place::kOutside : Place::kRoot;
  root_key_.clear();
  return true;
}

bool HeaderReader::start_array(std::size_t) {
  if (place_ != Place::kTensor || inner_key_ == "dtype") refuse("an array");
  if (inner_key_ == "shape") {
    place_ = Place::kShape;
    entries.back().shape.emplace();
  } else {
    place_ = Place::kOffsets;
    entries.back().offsets.emplace();
  }
  return true;
}

bool HeaderReader::end_array() {
  const bool offsets = place_ == Place::kOffsets;
  place_ = Place::kTensor;
  if (offsets && entries.back().offsets->size() != 2) {
    fail_data(file_, ": ", where(), ": expected two integers, found ", entries.back().offsets->size());
  }
  return true;
}

bool HeaderReader::parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& fault) {
  const std::string_view what = fault.what();
  const std::size_t detail = what.find(": ");
  fail_data(file_, ": the header: expected UTF-8 JSON, but byte ", position,
            " of it is not: ", printable(detail == std::string_view::npos ? what : what.substr(detail + 2), 300));
}

// The header's text: everything about its length and first bytes is checked here.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    fail_data(file, ": expected at least the 8 bytes of a safetensors length, found ", bytes.size(), " bytes");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxHeaderBytes) {
    fail_data(file, ": expected a safetensors header of at most ", kMaxHeaderBytes, " bytes, found a length of ",
              length, "; is it another format?");
  }
  if (length > bytes.size() - kLengthBytes) {
    fail_data(file, ": expected a header of ", length, " bytes, found ", bytes.size() - kLengthBytes,
              " bytes after its length; the file is truncated");
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (header.empty() || header.front() != '{') {
    fail_data(file, ": expected the header to begin with '{', found ",
              header.empty() ? "an empty header" : quote(header.substr(0, 1)));
  }
  // The parser would take a zero byte for the end and ignore what follows.
  if (header.find('\0') != std::string_view::npos)
    fail_data(file, ": expected a header of JSON, found a zero byte in it");
  return header;
}

// Sorts by place in the file and proves that the tensors tile the buffer: no hole, no overlap, nothing left over.
void check_tiling(std::vector<Entry>& entries, std::uint64_t buffer_bytes, const std::string& file) {
  for (const Entry& entry : entries) {
    const std::uint64_t begin = entry.offsets->at(0), end = entry.offsets->at(1);
    if (begin > end || end > buffer_bytes) {
      fail_data(file, ": ", quote(entry.name), ": expected data_offsets that rise within the ", buffer_bytes,
                " bytes of data, found [", begin, ", ", end, "]", end > buffer_bytes ? "; the file is truncated" : "");
    }
    const std::optional<std::uint64_t> bytes = byte_count(*entry.shape, *entry.dtype);
    if (!bytes) {
      fail_data(file, ": ", quote(entry.name), ": expected a tensor of less than 2^63 bytes, found shape ",
                shape_text(*entry.shape), " of ", dtype_name(*entry.dtype));
    }
    if (*bytes != end - begin) {
      fail_data(file, ": ", quote(entry.name), ": expected ", *bytes, " bytes for shape ", shape_text(*entry.shape),
                " of ", dtype_name(*entry.dtype), ", found ", end - begin, " between its data_offsets");
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return *a.offsets < *b.offsets; });
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    const std::uint64_t begin = entry.offsets->at(0);
    if (begin != covered) {
      fail_data(file, ": ", quote(entry.name), ": expected its data to begin at ", covered,
                ", where the previous tensor ends, found ", begin, begin < covered ? " (an overlap)" : " (a hole)");
    }
    covered = entry.offsets->at(1);
  }
  if (covered != buffer_bytes) {
    fail_data(file, ": expected the data to end after ", covered, " bytes, with the last tensor, found ", buffer_bytes,
              " bytes");
  }
}

// What will be written where.
struct Layout {
  std::vector<const TensorView*> tensors;  // in file order
  std::vector<std::uint64_t> bytes;
  std::string header;
  std::uint64_t total = 0;
};

void check_view(const TensorView& tensor, std::set<std::string_view>& seen, const std::string& file) {
  check(tensor.name != kMetadataKey && tensor.name.size() <= kMaxNameBytes, file, ": ", quote(tensor.name),
        ": expected a tensor's name of at most ", kMaxNameBytes, " bytes, and not ", kMetadataKey);
  check(seen.insert(tensor.name).second, file, ": expected each name once, found ", quote(tensor.name), " twice");
  const std::optional<std::uint64_t> bytes = byte_count(tensor.shape, tensor.dtype);
  check(bytes && tensor.shape.size() <= kMaxRank, file, ": ", quote(tensor.name), ": cannot write the shape ",
        shape_text(tensor.shape));
  check(*bytes == 0 || tensor.data != nullptr, file, ": ", quote(tensor.name), ": expected ", *bytes,
        " bytes, found none");
}

nlohmann::ordered_json header_of(const Layout& layout, std::map<std::string, std::string> metadata) {
  metadata.try_emplace("format", "pt");
  nlohmann::ordered_json::object_t header;
  header.reserve(layout.tensors.size() + 1);
  std::uint64_t offset = 0;
  header.push_back({kMetadataKey, metadata});
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    const TensorView& tensor = *layout.tensors[i];
    const std::uint64_t end = offset + layout.bytes[i];
    header.push_back(
        {tensor.name, {{"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  return header;
}

Layout plan(const std::string& file, std::span<const TensorView> tensors,
            const std::map<std::string, std::string>& metadata) {
  check(tensors.size() <= kMaxTensors, file, ": expected at most ", kMaxTensors, " tensors, found ", tensors.size());
  Layout layout;
  std::set<std::string_view> seen;
  for (const TensorView& tensor : tensors) {
    check_view(tensor, seen, file);
    layout.tensors.push_back(&tensor);
  }
  std::stable_sort(layout.tensors.begin(), layout.tensors.end(), [](const TensorView* a, const TensorView* b) {
    return dtype_size(a->dtype) > dtype_size(b->dtype);
  });
  for (const TensorView* tensor : layout.tensors) {
    layout.bytes.push_back(*byte_count(tensor->shape, tensor->dtype));
    layout.total += layout.bytes.back();
  }
  try {
    layout.header = header_of(layout, metadata).dump();
  } catch (const nlohmann::json::exception&) {
    fail(file, ": expected names and metadata in UTF-8, found other bytes");
  }
  layout.header.resize((layout.header.size() + 7) / 8 * 8, ' ');
  check(layout.header.size() <= kMaxHeaderBytes, file, ": expected a header of at most ", kMaxHeaderBytes,
        " bytes, found ", layout.header.size());
  layout.total += kLengthBytes + layout.header.size();
  return layout;
}

}  // namespace

bool begins_like_safetensors(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  if (bytes.size() <= kLengthBytes) return false;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return length <= kMaxHeaderBytes && bytes[kLengthBytes] == std::byte{'{'};
}

TensorTable read_safetensors(std::span<const std::byte> bytes, const std::string& file) {
  const std::string_view header = header_text(bytes, file);
  HeaderReader reader(file);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  const std::span<const std::byte> buffer = bytes.subspan(kLengthBytes + header.size());
  check_tiling(reader.entries, buffer.size(), file);
  TensorTable table;
  table.format = "safetensors";
  table.metadata = std::move(reader.metadata);
  for (Entry& entry : reader.entries) {
    const std::uint64_t begin = entry.offsets->at(0), end = entry.offsets->at(1);
    table.add(std::move(entry.name), {*entry.dtype, std::move(*entry.shape), buffer.subspan(begin, end - begin)});
  }
  return table;
}

std::string write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata) {
  const Layout layout = plan(path.string(), tensors, metadata);
  AtomicFile file(path, layout.total);
  const std::uint64_t length = layout.header.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(layout.header)));
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    file.write({static_cast<const std::byte*>(layout.tensors[i]->data), layout.bytes[i]});
  }
  return file.commit();
}

}  // namespace lacuna
