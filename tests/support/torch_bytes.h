#pragma once
// ZIP archives and pickles put together byte by byte, so that a test can break one rule at a time.

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lacuna::testing {

template <class T>
std::string little(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

inline std::uint32_t crc32_of(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

// One entry, stored. What is set to something else than its default is a lie about it.
struct ZipPart {
  std::string name, data;
  bool descriptor = false;  // sizes and checksum follow the data; the local header has zeros
  bool wide = false;        // sizes and offset stand in 64-bit extra fields
  std::uint16_t method = 0, flags = 0x800, local_flags = 0x800;
  std::optional<std::uint32_t> crc = {}, packed = {}, size = {}, local_size = {}, offset = {};
  std::string local_name = {};
  std::string extra = {};  // of the directory, in place of the right one
};

struct ZipEnd {
  std::optional<std::uint16_t> entries = {}, entries_here = {};
  std::uint16_t disk = 0;
  std::optional<std::uint32_t> size = {}, offset = {};
  std::string before = {}, before_directory = {}, after = {};
  bool wide = false;
};

inline std::string zip_local(const ZipPart& part) {
  const auto size = static_cast<std::uint32_t>(part.data.size());
  const std::string name = part.local_name.empty() ? part.name : part.local_name;
  const std::uint32_t crc = part.crc.value_or(crc32_of(part.data)), stated = part.local_size.value_or(size);
  std::string out = little<std::uint32_t>(0x04034b50) + little<std::uint16_t>(20) +
                    little<std::uint16_t>(part.local_flags | (part.descriptor ? 8 : 0)) +
                    little<std::uint16_t>(part.method) + little<std::uint32_t>(0);
  if (part.descriptor) {
    out += std::string(12, '\0');
  } else if (part.wide) {
    out += little(crc) + little<std::uint64_t>(~std::uint64_t{0});
  } else {
    out += little(crc) + little(part.packed.value_or(stated)) + little(stated);
  }
  std::string extra;
  if (part.wide && !part.descriptor)
    extra = little<std::uint16_t>(1) + little<std::uint16_t>(16) + little<std::uint64_t>(stated) +
            little<std::uint64_t>(stated);
  out += little(static_cast<std::uint16_t>(name.size())) + little(static_cast<std::uint16_t>(extra.size()));
  out += name + extra + part.data;
  if (part.descriptor) out += little<std::uint32_t>(0x08074b50) + little(crc) + little(size) + little(size);
  return out;
}

inline std::string zip_central(const ZipPart& part, std::uint64_t offset) {
  const auto size = static_cast<std::uint32_t>(part.data.size());
  const std::uint32_t stated = part.size.value_or(size);
  std::string extra = part.extra;
  if (part.wide && extra.empty())
    extra = little<std::uint16_t>(1) + little<std::uint16_t>(24) + little<std::uint64_t>(stated) +
            little<std::uint64_t>(stated) + little<std::uint64_t>(offset);
  std::string out = little<std::uint32_t>(0x02014b50) + little<std::uint32_t>(20 | 20 << 16) +
                    little<std::uint16_t>(part.flags | (part.descriptor ? 8 : 0)) + little(part.method) +
                    little<std::uint32_t>(0) + little(part.crc.value_or(crc32_of(part.data)));
  if (part.wide) {
    out += little<std::uint64_t>(~std::uint64_t{0});
  } else {
    out += little(part.packed.value_or(stated)) + little(stated);
  }
  out += little(static_cast<std::uint16_t>(part.name.size())) + little(static_cast<std::uint16_t>(extra.size()));
  out += std::string(10, '\0');  // comment, disk, attributes
  out += little(part.wide ? ~std::uint32_t{0} : part.offset.value_or(static_cast<std::uint32_t>(offset)));
  return out + part.name + extra;
}

inline std::string zip_of(const std::vector<ZipPart>& parts, const ZipEnd& end = {}) {
  std::string out = end.before, directory;
  for (const ZipPart& part : parts) {
    directory += zip_central(part, out.size());
    out += zip_local(part);
  }
  out += end.before_directory;
  const std::uint64_t offset = out.size();
  const auto entries = static_cast<std::uint16_t>(parts.size());
  out += directory;
  if (end.wide) {
    const std::uint64_t at = out.size();
    out += little<std::uint32_t>(0x06064b50) + little<std::uint64_t>(44) + little<std::uint32_t>(45 | 45 << 16) +
           std::string(8, '\0') + little<std::uint64_t>(entries) + little<std::uint64_t>(entries) +
           little<std::uint64_t>(directory.size()) + little(offset);
    out += little<std::uint32_t>(0x07064b50) + little<std::uint32_t>(0) + little(at) + little<std::uint32_t>(1);
  }
  out += little<std::uint32_t>(0x06054b50) + little(end.disk) + little(end.disk) +
         little(end.entries_here.value_or(end.entries.value_or(end.wide ? 0xffff : entries))) +
         little(end.entries.value_or(end.wide ? 0xffff : entries)) +
         little(end.size.value_or(end.wide ? ~std::uint32_t{0} : static_cast<std::uint32_t>(directory.size()))) +
         little(end.offset.value_or(end.wide ? ~std::uint32_t{0} : static_cast<std::uint32_t>(offset))) +
         little<std::uint16_t>(0);
  return out + end.after;
}

// A pickle of protocol 2, operation by operation.
class PickleMaker {
 public:
  PickleMaker& op(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  PickleMaker& text(std::string_view content) {
    return op("X").op(little(static_cast<std::uint32_t>(content.size()))).op(content);
  }
  PickleMaker& integer(std::int64_t value) { return op("\x8a\x08").op(little(value)); }
  PickleMaker& global(std::string_view module, std::string_view name) {
    return op("c").op(module).op("\n").op(name).op("\n");
  }
  PickleMaker& integers(const std::vector<std::int64_t>& values) {
    op("(");
    for (const std::int64_t value : values) integer(value);
    return op("t");
  }
  PickleMaker& storage(std::string_view type, std::string_view key, std::int64_t numbers) {
    op("(").text("storage").global("torch", type).text(key).text("cpu").integer(numbers);
    return op("tQ");
  }
  // torch._utils._rebuild_tensor_v2 of a storage "0" of `held` numbers.
  PickleMaker& tensor(std::int64_t held, std::int64_t offset, const std::vector<std::int64_t>& shape,
                      const std::vector<std::int64_t>& strides, std::string_view type = "FloatStorage",
                      std::string_view key = "0") {
    global("torch._utils", "_rebuild_tensor_v2").op("(").storage(type, key, held).integer(offset);
    integers(shape).integers(strides).op("\x89").global("collections", "OrderedDict").op(")R");
    return op("tR");
  }
  std::string done() const { return "\x80\x02" + bytes_ + "."; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A torch checkpoint with this pickle and these storages.
inline std::string torch_of(const std::string& pickle,
                            const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipPart> parts = {{.name = "archive/data.pkl", .data = pickle}};
  parts.push_back({.name = "archive/byteorder", .data = "little"});
  for (const auto& [key, data] : storages) parts.push_back({.name = "archive/data/" + key, .data = data});
  parts.push_back({.name = "archive/version", .data = "3\n"});
  return zip_of(parts);
}

}  // namespace lacuna::testing
