#include "io/tensor/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr std::uint32_t kLocalMagic = 0x04034b50, kCentralMagic = 0x02014b50, kEndMagic = 0x06054b50,
                        kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint16_t kEncrypted = 1u << 0, kDescriptor = 1u << 3;
constexpr std::uint16_t kNone16 = 0xffff;      // in a record: the number stands in its 64-bit twin
constexpr std::uint32_t kNone32 = 0xffffffff;  // likewise
constexpr std::uint16_t kDeflated = 8;
constexpr std::size_t kMaxName = 4096;
constexpr std::uint64_t kMaxEntries = 1'000'000;

std::string quote(std::string_view name) { return "'" + printable(name) + "'"; }

template <class T>
T number(std::span<const std::byte> record, std::size_t at) {
  T value;
  invariant(at + sizeof(T) <= record.size(), "a number beyond its record");
  std::memcpy(&value, record.data() + at, sizeof(T));
  return value;
}

std::string_view words(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Directory {
  std::uint64_t entries = 0, offset = 0, size = 0;
};

// One entry of the directory, or what a local header says of the same.
struct Header {
  std::string_view name;
  std::uint16_t flags = 0, method = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed = 0, size = 0, offset = 0;
};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::vector<ZipEntry> entries();

 private:
  struct Place {
    std::uint64_t begin, end;  // from the local header to the end of the data
    std::size_t entry;
  };

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail_data(file_, ": a broken ZIP archive: ", parts...);
  }
  std::span<const std::byte> part(std::uint64_t offset, std::uint64_t size, const char* what) const;
  Directory find_directory() const;
  Directory find_directory64(std::uint64_t end) const;
  Header central_header(std::uint64_t& at, std::uint64_t end) const;
  void widen(Header& header, std::span<const std::byte> extra, bool local) const;
  void check_method(const Header& header) const;
  std::uint64_t check_local(const Header& central) const;
  void check_apart(std::vector<Place> places, const std::vector<ZipEntry>& entries) const;

  std::span<const std::byte> bytes_;
  const std::string& file_;
};

std::span<const std::byte> Reader::part(std::uint64_t offset, std::uint64_t size, const char* what) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset) {
    refuse("expected ", what, " of ", size, " bytes at ", offset, ", but the file ends at ", bytes_.size());
  }
  return bytes_.subspan(offset, size);
}

// The end record says where the directory is. The directory ends where the end record (or its 64-bit twin) begins.
Directory Reader::find_directory() const {
  if (bytes_.size() < kEndBytes) refuse("expected an end record of 22 bytes, found ", bytes_.size(), " bytes");
  const std::uint64_t at = bytes_.size() - kEndBytes;
  const auto record = bytes_.subspan(at);
  if (number<std::uint32_t>(record, 0) != kEndMagic) {
    refuse("expected its end record in the last 22 bytes, found none; the file is truncated, or something follows it");
  }
  Directory out{number<std::uint16_t>(record, 10), number<std::uint32_t>(record, 16),
                number<std::uint32_t>(record, 12)};
  const auto disk = number<std::uint16_t>(record, 4), first_disk = number<std::uint16_t>(record, 6);
  std::uint64_t end = at;
  if (at >= kLocator64Bytes && number<std::uint32_t>(bytes_, at - kLocator64Bytes) == kLocator64Magic) {
    const Directory wide = find_directory64(at - kLocator64Bytes);
    const bool agrees = (out.entries == kNone16 || out.entries == wide.entries) &&
                        (out.offset == kNone32 || out.offset == wide.offset) &&
                        (out.size == kNone32 || out.size == wide.size);
    if (!agrees) refuse("its two end records contradict each other");
    out = wide;
    end = number<std::uint64_t>(bytes_, at - kLocator64Bytes + 8);
  } else if (disk != 0 || first_disk != 0 || number<std::uint16_t>(record, 8) != out.entries) {
    refuse("it is one of several parts; only whole archives are read");
  }
  if (out.offset > end || out.size != end - out.offset) {
    refuse("expected a directory that ends where the end record begins, at ", end, ", found ", out.size, " bytes at ",
           out.offset);
  }
  if (out.entries > kMaxEntries) refuse("expected at most ", kMaxEntries, " entries, found ", out.entries);
  return out;
}

Directory Reader::find_directory64(std::uint64_t locator) const {
  const auto at = number<std::uint64_t>(bytes_, locator + 8);
  const auto record = part(at, kEnd64Bytes, "a 64-bit end record");
  if (number<std::uint32_t>(record, 0) != kEnd64Magic) refuse("expected a 64-bit end record at ", at, ", found none");
  if (at + kEnd64Bytes != locator || number<std::uint64_t>(record, 4) != kEnd64Bytes - 12) {
    refuse("expected the 64-bit end record to end where its locator begins, at ", locator);
  }
  const Directory out{number<std::uint64_t>(record, 32), number<std::uint64_t>(record, 48),
                      number<std::uint64_t>(record, 40)};
  if (number<std::uint32_t>(record, 16) != 0 || number<std::uint32_t>(record, 20) != 0 ||
      number<std::uint64_t>(record, 24) != out.entries || number<std::uint32_t>(bytes_, locator + 4) != 0) {
    refuse("it is one of several parts; only whole archives are read");
  }
  return out;
}

// Puts in the 64-bit numbers that did not fit. A local header that uses them has both sizes there.
void Reader::widen(Header& header, std::span<const std::byte> extra, bool local) const {
  while (extra.size() >= 4) {
    const auto tag = number<std::uint16_t>(extra, 0);
    const std::size_t size = number<std::uint16_t>(extra, 2);
    if (size > extra.size() - 4) refuse(quote(header.name), ": its extra field is cut off");
    if (tag == kZip64Extra) {
      const auto field = extra.subspan(4, size);
      std::size_t at = 0;
      for (std::uint64_t* value : {&header.size, &header.packed, local ? nullptr : &header.offset}) {
        if (value == nullptr || *value != kNone32) continue;
        if (at + 8 > field.size()) refuse(quote(header.name), ": expected 64-bit sizes in its extra field, found none");
        *value = number<std::uint64_t>(field, at);
        at += 8;
      }
      return;
    }
    extra = extra.subspan(4 + size);
  }
}

Header Reader::central_header(std::uint64_t& at, std::uint64_t end) const {
  if (end - at < kCentralBytes) refuse("expected another entry of the directory at ", at, ", found its end");
  const auto record = bytes_.subspan(at, kCentralBytes);
  if (number<std::uint32_t>(record, 0) != kCentralMagic) refuse("expected an entry of the directory at ", at);
  const std::uint64_t name = number<std::uint16_t>(record, 28), extra = number<std::uint16_t>(record, 30),
                      comment = number<std::uint16_t>(record, 32);
  if (name + extra + comment > end - at - kCentralBytes) refuse("the directory entry at ", at, " is cut off");
  Header out{.name = words(bytes_.subspan(at + kCentralBytes, name)),
             .flags = number<std::uint16_t>(record, 8),
             .method = number<std::uint16_t>(record, 10),
             .crc = number<std::uint32_t>(record, 16),
             .packed = number<std::uint32_t>(record, 20),
             .size = number<std::uint32_t>(record, 24),
             .offset = number<std::uint32_t>(record, 42)};
  if (name == 0 || name > kMaxName) refuse("expected names of 1 to ", kMaxName, " bytes, found one of ", name);
  widen(out, bytes_.subspan(at + kCentralBytes + name, extra), /*local=*/false);
  at += kCentralBytes + name + extra + comment;
  return out;
}

void Reader::check_method(const Header& header) const {
  if ((header.flags & kEncrypted) != 0) {
    fail_data(file_, ": ", quote(header.name), " is encrypted; only plain entries are read");
  }
  if (header.method == 0 && header.packed != header.size) {
    refuse(quote(header.name), ": a stored entry of ", header.size, " bytes that takes ", header.packed);
  }
}

// Where the data of an entry begins. With a data descriptor the local header need not know sizes and checksum.
std::uint64_t Reader::check_local(const Header& central) const {
  const auto record = part(central.offset, kLocalBytes, "a local header");
  if (number<std::uint32_t>(record, 0) != kLocalMagic) {
    refuse(quote(central.name), ": expected its local header at ", central.offset, ", found none");
  }
  const std::uint64_t name = number<std::uint16_t>(record, 26), extra = number<std::uint16_t>(record, 28);
  const auto tail = part(central.offset + kLocalBytes, name + extra, "a local header's name");
  Header local{.name = words(tail.first(name)),
               .flags = number<std::uint16_t>(record, 6),
               .method = number<std::uint16_t>(record, 8),
               .crc = number<std::uint32_t>(record, 14),
               .packed = number<std::uint32_t>(record, 18),
               .size = number<std::uint32_t>(record, 22),
               .offset = central.offset};
  if (local.name != central.name) {
    refuse(quote(central.name), ": its local header names ", quote(local.name), " instead");
  }
  widen(local, tail.subspan(name), /*local=*/true);
  const bool unknown = (local.flags & kDescriptor) != 0 && local.crc == 0 && local.packed == 0 && local.size == 0;
  const bool sizes_only = (local.flags & kDescriptor) != 0 && local.crc == 0;
  const bool same_sizes = local.packed == central.packed && local.size == central.size;
  if (local.method != central.method || ((local.flags ^ central.flags) & (kEncrypted | kDescriptor)) != 0 ||
      !(unknown || (same_sizes && (sizes_only || local.crc == central.crc)))) {
    refuse(quote(central.name), ": its local header contradicts the directory");
  }
  return central.offset + kLocalBytes + name + extra;
}

void Reader::check_apart(std::vector<Place> places, const std::vector<ZipEntry>& entries) const {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
  if (!places.empty() && places.front().begin != 0) refuse("its first entry begins at ", places.front().begin);
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].begin < places[i - 1].end) {
      refuse(quote(entries[places[i].entry].name), " overlaps ", quote(entries[places[i - 1].entry].name));
    }
  }
}

std::vector<ZipEntry> Reader::entries() {
  const Directory directory = find_directory();
  std::vector<ZipEntry> out;
  std::vector<Place> places;
  std::uint64_t at = directory.offset;
  const std::uint64_t end = directory.offset + directory.size;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const Header header = central_header(at, end);
    check_method(header);
    const std::uint64_t begin = check_local(header);
    if (header.packed > directory.offset || begin > directory.offset - header.packed) {
      refuse(quote(header.name), ": expected ", header.packed, " bytes from ", begin,
             " on, but the directory begins at ", directory.offset);
    }
    places.push_back({header.offset, begin + header.packed, out.size()});
    out.push_back({header.name, bytes_.subspan(begin, header.packed), header.method, header.size, header.crc});
  }
  if (at != end) refuse("its directory has ", end - at, " bytes more than its ", directory.entries, " entries");
  check_apart(std::move(places), out);
  return out;
}

}  // namespace

bool begins_like_zip(std::span<const std::byte> bytes) {
  if (bytes.size() < 4) return false;
  const auto magic = number<std::uint32_t>(bytes, 0);
  return magic == kLocalMagic || magic == kEndMagic;
}

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string file) : file_(std::move(file)) {
  {
    const ScatteredReads headers(bytes);  // a few bytes each, between the tensors
    entries_ = Reader(bytes, file_).entries();
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!places_.emplace(entries_[i].name, i).second) {
      fail_data(file_, ": a broken ZIP archive: expected each name once, found ", quote(entries_[i].name), " twice");
    }
  }
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : &entries_[found->second];
}

const ZipEntry* ZipArchive::find_stored(std::string_view name) const {
  const ZipEntry* entry = find(name);
  if (entry != nullptr && entry->method != 0) {
    fail_data(file_, ": ", quote(name), " is compressed (method ", entry->method,
              "), but files of weights store their tensors as they are; unpack and save it again");
  }
  return entry;
}

void ZipArchive::verify(const ZipEntry& entry) const {
  invariant(entry.method == 0, "the checksum of a compressed entry is that of its content");
  if (entry.crc == 0) return;
  const auto found = crc32_z(0, reinterpret_cast<const Bytef*>(entry.data.data()), entry.data.size());
  if (found != entry.crc) {
    fail_data(file_, ": ", quote(entry.name), ": its bytes do not have the checksum that the archive states; ",
              "the file is damaged, fetch it again");
  }
}

std::optional<std::string> ZipArchive::content(const ZipEntry& entry, std::uint64_t max_bytes) const {
  if (entry.size > max_bytes) return std::nullopt;
  if (entry.method == 0) return std::string(words(entry.data));
  if (entry.method != kDeflated || entry.data.size() > std::numeric_limits<uInt>::max()) return std::nullopt;
  std::string out(entry.size, '\0');
  z_stream stream{};
  // zlib does not write to what it reads; the member lacks a const only in its older interface.
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(entry.data.data()));
  stream.avail_in = static_cast<uInt>(entry.data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  invariant(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "zlib cannot start");
  const int end = inflate(&stream, Z_FINISH);
  const bool whole = end == Z_STREAM_END && stream.avail_out == 0 && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!whole)
    fail_data(file_, ": ", quote(entry.name), ": its compressed bytes do not give the ", entry.size,
              " that the archive states; the file is damaged");
  return out;
}

}  // namespace lacuna
