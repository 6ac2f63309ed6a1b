// NumPy's .npz: a ZIP archive of .npy files. Sources: the ZIP application note 6.3.10 (ZIP64 in 4.3.14, 4.5.3), NumPy's
// NEP 1 for .npy version 1.0. Entries are stored, so the arrays lie in the file as they are, each at a multiple of 64
// bytes. Sizes always stand in ZIP64 fields: a file's layout then depends on nothing but its shapes.

#include <zlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/tensor/array_layout.h"

namespace lacuna {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint16_t kZip64Version = 45;
constexpr std::uint16_t kFirstDay = 0x21;  // 1980-01-01: the bytes must not depend on the clock
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;

template <class T>
void put(std::string& to, T number) {
  to.append(reinterpret_cast<const char*>(&number), sizeof(T));
}

struct Entry {
  std::string name;         // of the file in the archive
  std::string header;       // of the .npy
  std::uint64_t data;       // bytes after the header
  std::uint32_t crc = 0;    // of both
  std::uint64_t place = 0;  // of the local header
  std::uint64_t size() const { return header.size() + data; }
};

std::string local_header(const Entry& entry) {
  std::string out;
  put(out, std::uint32_t{0x04034b50});
  for (const std::uint16_t field : {kZip64Version, std::uint16_t{0}, std::uint16_t{0}, std::uint16_t{0}, kFirstDay})
    put(out, field);
  for (const std::uint32_t field : {entry.crc, kIn64, kIn64}) put(out, field);
  constexpr std::uint64_t kFixed = 30, kZip64 = 20, kExtraHead = 4;
  const std::uint64_t end = entry.place + kFixed + entry.name.size() + kZip64;
  std::uint64_t gap = (kAlignment - end % kAlignment) % kAlignment;
  if (gap > 0 && gap < kExtraHead) gap += kAlignment;
  put(out, static_cast<std::uint16_t>(entry.name.size()));
  put(out, static_cast<std::uint16_t>(kZip64 + gap));
  out += entry.name;
  for (const int field : {1, 16}) put(out, static_cast<std::uint16_t>(field));
  for (int i = 0; i < 2; ++i) put(out, entry.size());
  if (gap == 0) return out;
  put(out, std::uint16_t{0xD935});  // the field that Android's zipalign fills up with
  put(out, static_cast<std::uint16_t>(gap - kExtraHead));
  return out.append(gap - kExtraHead, '\0');
}

std::string central_header(const Entry& entry) {
  std::string out;
  put(out, std::uint32_t{0x02014b50});
  for (const std::uint16_t field :
       {kZip64Version, kZip64Version, std::uint16_t{0}, std::uint16_t{0}, std::uint16_t{0}, kFirstDay})
    put(out, field);
  for (const std::uint32_t field : {entry.crc, kIn64, kIn64}) put(out, field);
  constexpr std::uint16_t kZip64 = 28;
  put(out, static_cast<std::uint16_t>(entry.name.size()));
  for (const std::uint16_t field : {kZip64, std::uint16_t{0}, std::uint16_t{0}, std::uint16_t{0}}) put(out, field);
  for (const std::uint32_t field : {std::uint32_t{0}, kIn64}) put(out, field);
  out += entry.name;
  for (const int field : {1, 24}) put(out, static_cast<std::uint16_t>(field));
  for (const std::uint64_t field : {entry.size(), entry.size(), entry.place}) put(out, field);
  return out;
}

std::string end_of_archive(std::uint64_t entries, std::uint64_t place, std::uint64_t bytes) {
  std::string out;
  put(out, std::uint32_t{0x06064b50});
  put(out, std::uint64_t{44});
  for (int i = 0; i < 2; ++i) put(out, kZip64Version);
  for (int i = 0; i < 2; ++i) put(out, std::uint32_t{0});
  for (const std::uint64_t field : {entries, entries, bytes, place}) put(out, field);
  put(out, std::uint32_t{0x07064b50});
  put(out, std::uint32_t{0});
  put(out, place + bytes);
  put(out, std::uint32_t{1});
  put(out, std::uint32_t{0x06054b50});
  for (int i = 0; i < 2; ++i) put(out, std::uint16_t{0});
  for (int i = 0; i < 2; ++i) put(out, static_cast<std::uint16_t>(entries));
  for (int i = 0; i < 2; ++i) put(out, kIn64);
  put(out, std::uint16_t{0});
  return out;
}

std::string npy_header(const std::string& type, const std::vector<std::int64_t>& shape) {
  std::string extents;
  for (const std::int64_t extent : shape) extents += std::to_string(extent) + ", ";
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  if (shape.size() == 1) extents.pop_back();
  std::string words = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + extents + "), }";
  constexpr std::size_t kMagic = 10;
  words.append(kAlignment - 1 - (kMagic + words.size()) % kAlignment, ' ');
  words += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, static_cast<std::uint16_t>(words.size()));
  return out + words;
}

std::string npy_type(const RowArray& array) {
  switch (array.dtype) {
    case DType::kF16:
      return "<f2";
    case DType::kF32:
      return "<f4";
    case DType::kF64:
      return "<f8";
    default:
      fail("npz: NumPy has no type for ", dtype_name(array.dtype), "; use dtype=f16, or a safetensors file");
  }
}

// UTF-8 to code points; bytes that are none become U+DC80 to U+DCFF, as Python's file names have them.
std::u32string code_points(std::string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80 ? 1 : byte >> 5 == 6 ? 2 : byte >> 4 == 14 ? 3 : byte >> 3 == 30 ? 4 : 0;
    constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    char32_t point = length == 1 ? byte : byte & (0x7Fu >> length);
    bool fine = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; fine && k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      fine = next >> 6 == 2;
      point = point << 6 | (next & 0x3F);
    }
    fine = fine && point >= kLeast[length] && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    out += fine ? point : char32_t{0xDC00} + byte;
    i += fine ? length : 1;
  }
  return out;
}

class NpzLayout final : public ArrayLayout {
 public:
  explicit NpzLayout(const RowPlan& plan) : plan_(plan) {
    for (const RowArray& array : plan.arrays) types_.push_back(npy_type(array));
  }

  std::vector<std::uint64_t> places(std::int64_t rows) const override {
    std::vector<std::uint64_t> places;
    std::uint64_t place = 0;
    for (std::size_t i = 0; i < plan_.arrays.size(); ++i) {
      Entry entry = array_entry(i, rows);
      entry.place = place;
      places.push_back(place + local_header(entry).size() + entry.header.size());
      place = places.back() + entry.data;
    }
    places.push_back(place);
    return places;
  }

  void frame(WorkFile& file, std::int64_t rows, std::span<const std::uint32_t> crcs,
             const NameOfRow& name) const override {
    std::vector<Entry> entries;
    std::uint64_t place = 0;
    for (std::size_t i = 0; i < plan_.arrays.size(); ++i) {
      Entry entry = array_entry(i, rows);
      entry.place = place;
      const auto head = static_cast<std::uint32_t>(::crc32_combine64(crc32_of(std::as_bytes(std::span(entry.header))),
                                                                     crcs[i], static_cast<off64_t>(entry.data)));
      entry.crc = head;
      place = open_entry(file, entry) + entry.data;
      entries.push_back(std::move(entry));
    }
    place = add_names(file, place, rows, name, entries);
    const nlohmann::json about = plan_.metadata;
    const std::u32string words = code_points(about.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    place = add_text(
        file, place, "about.npy", {}, words.size(), 1, [&](std::int64_t) { return words; }, entries);
    RunWriter tail(file, place);
    for (const Entry& entry : entries) tail.put(central_header(entry));
    tail.put(end_of_archive(entries.size(), place, tail.written()));
    tail.flush();
    file.resize(place + tail.written());
  }

 private:
  Entry array_entry(std::size_t i, std::int64_t rows) const {
    const RowArray& array = plan_.arrays[i];
    std::vector<std::int64_t> shape = array.shape;
    shape.insert(shape.begin(), rows);
    return {array.name + ".npy", npy_header(types_[i], shape), static_cast<std::uint64_t>(rows) * row_bytes(array)};
  }

  // Writes an entry's headers; returns where its data begin.
  static std::uint64_t open_entry(WorkFile& file, const Entry& entry) {
    RunWriter head(file, entry.place);
    head.put(local_header(entry));
    head.put(entry.header);
    head.flush();
    return entry.place + head.written();
  }

  std::uint64_t add_names(WorkFile& file, std::uint64_t place, std::int64_t rows, const NameOfRow& name,
                          std::vector<Entry>& entries) const {
    std::size_t longest = 1;
    for (std::int64_t row = 0; row < rows; ++row) longest = std::max(longest, code_points(name(row)).size());
    const auto points = [&](std::int64_t row) { return code_points(name(row)); };
    return add_text(file, place, "names.npy", {rows}, longest, rows, points, entries);
  }

  // `count` texts of at most `width` code points as an array of that shape; returns where the entry ends.
  static std::uint64_t add_text(WorkFile& file, std::uint64_t place, const std::string& name,
                                const std::vector<std::int64_t>& shape, std::size_t width, std::int64_t count,
                                const std::function<std::u32string(std::int64_t)>& text, std::vector<Entry>& entries) {
    const std::uint64_t bytes = width * sizeof(char32_t);
    Entry entry{name, npy_header("<U" + std::to_string(width), shape), static_cast<std::uint64_t>(count) * bytes, 0,
                place};
    RunWriter data(file, place + local_header(entry).size() + entry.header.size());
    for (std::int64_t i = 0; i < count; ++i) {
      std::u32string points = text(i);
      points.resize(width);
      data.put({reinterpret_cast<const char*>(points.data()), bytes});
    }
    data.flush();
    entry.crc = static_cast<std::uint32_t>(::crc32_combine64(crc32_of(std::as_bytes(std::span(entry.header))),
                                                             data.crc(), static_cast<off64_t>(entry.data)));
    const std::uint64_t end = open_entry(file, entry) + entry.data;
    entries.push_back(std::move(entry));
    return end;
  }

  RowPlan plan_;
  std::vector<std::string> types_;
};

}  // namespace

std::unique_ptr<ArrayLayout> npz_layout(const RowPlan& plan) { return std::make_unique<NpzLayout>(plan); }

}  // namespace lacuna
