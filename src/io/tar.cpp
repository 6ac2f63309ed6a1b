#include "io/tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kWindow = 16 * kBlock;
constexpr std::uint64_t kMaxExtension = 1 << 20;  // of a PAX header or a long name
constexpr std::size_t kMaxName = 1 << 15;

// Fields of a header: where they begin and how long they are.
constexpr std::size_t kName = 0, kNameLength = 100, kMode = 100, kUser = 108, kGroup = 116, kSize = 124,
                      kSizeLength = 12, kTime = 136, kSum = 148, kSumLength = 8, kType = 156, kMagic = 257,
                      kPrefix = 345, kPrefixLength = 155;

std::uint64_t padded_size(std::uint64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The sum of a header's bytes with its own field read as spaces. Some old writers added signed bytes.
std::pair<std::int64_t, std::int64_t> checksums(std::string_view header) {
  std::int64_t plain = 0, with_sign = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const char c = i >= kSum && i < kSum + kSumLength ? ' ' : header[i];
    plain += static_cast<unsigned char>(c);
    with_sign += static_cast<signed char>(c);
  }
  return {plain, with_sign};
}

TarKind kind_of(char type) {
  switch (type) {
    case '0':
    case '\0':
    case '7':
      return TarKind::kFile;
    case '1':
    case '2':
      return TarKind::kLink;
    case '5':
      return TarKind::kFolder;
    case 'S':
      return TarKind::kSparse;
    default:
      return TarKind::kOther;
  }
}

template <class Integer>
std::optional<Integer> parsed(std::string_view digits, int base) {
  Integer value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

struct TarReader::Extended {
  std::string name;
  std::optional<std::uint64_t> size;
  bool sparse = false;
};

TarReader::TarReader(ReadAt read, std::uint64_t size, std::string name)
    : read_(std::move(read)), size_(size), name_(std::move(name)), header_(kBlock) {}

void TarReader::read(std::uint64_t offset, std::span<std::byte> into) {
  if (into.size() <= kWindow) {
    const bool inside = offset >= window_start_ && offset + into.size() <= window_start_ + window_.size();
    if (!inside) {
      window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, size_ - offset)));
      window_start_ = offset;
      read_(offset, window_);
    }
    std::memcpy(into.data(), window_.data() + (offset - window_start_), into.size());
  } else {
    read_(offset, into);
  }
}

// False at the end of the archive.
bool TarReader::read_header() {
  if (position_ == size_) return false;
  if (position_ > size_ || size_ - position_ < kBlock)
    fail_data(name_, ": expected a header at byte ", position_, ", but the archive ends at byte ", size_,
              "; it was cut off");
  read(position_, header_);
  if (std::all_of(header_.begin(), header_.end(), [](std::byte b) { return b == std::byte{0}; })) return false;
  const auto [plain, with_sign] = checksums(as_text(header_));
  const auto stated = static_cast<std::int64_t>(number(kSum, kSumLength, "checksum"));
  if (stated != plain && stated != with_sign)
    fail_data(name_, ": expected the header of a member at byte ", position_,
              ", found bytes whose checksum does not agree; the archive is damaged there");
  return true;
}

// A text field: up to its first zero byte.
std::string_view TarReader::field(std::size_t offset, std::size_t length) const {
  const std::string_view all = as_text(header_).substr(offset, length);
  return all.substr(0, std::min(all.find('\0'), all.size()));
}

// Octal digits between spaces, or GNU's form for large numbers: a set high bit, then big-endian bytes.
std::uint64_t TarReader::number(std::size_t offset, std::size_t length, const char* what) const {
  const std::string_view all = as_text(header_).substr(offset, length);
  if ((static_cast<unsigned char>(all[0]) & 0x80) != 0) {
    std::uint64_t value = static_cast<unsigned char>(all[0]) & 0x7F;
    for (const char c : all.substr(1)) {
      if (value >> 55 != 0) fail_data(name_, ": the ", what, " in the header at byte ", position_, " is absurd");
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  std::string_view digits = field(offset, length);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, std::min(digits.find(' '), digits.size()));
  const auto value = digits.empty() ? std::optional<std::uint64_t>(0) : parsed<std::uint64_t>(digits, 8);
  if (!value)
    fail_data(name_, ": expected the ", what, " of a member in the header at byte ", position_, ", found \"",
              printable(digits), "\"; the archive is damaged there, or is no tar");
  return *value;
}

// The content behind the present header, for extensions.
std::string TarReader::content(std::uint64_t size, const char* what) {
  if (size > kMaxExtension)
    fail_data(name_, ": ", what, " at byte ", position_, " has ", size, " bytes, more than the limit of ",
              kMaxExtension);
  const std::uint64_t start = position_ + kBlock;
  if (size > size_ - start) fail_data(name_, ": the archive ends inside ", what, " at byte ", position_);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  read(start, std::as_writable_bytes(std::span(bytes.data(), bytes.size())));
  return bytes;
}

// Records "LENGTH KEY=VALUE\n", the length counting itself.
void TarReader::apply_pax(std::string_view records, Extended& extended, bool global) const {
  const auto damaged = [this] { fail_data(name_, ": the PAX header at byte ", position_, " is damaged"); };
  while (!records.empty() && records[0] != '\0') {
    const std::size_t space = records.find(' ');
    if (space == std::string_view::npos) damaged();
    const auto length = parsed<std::size_t>(records.substr(0, space), 10);
    if (!length || *length < space + 3 || *length > records.size() || records[*length - 1] != '\n') damaged();
    const std::string_view record = records.substr(space + 1, *length - space - 2);
    records.remove_prefix(*length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) damaged();
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (global && (key == "path" || key == "size"))
      fail_data(name_, ": the global header at byte ", position_, " sets the ", key, " of all members; repack it");
    if (key == "path") extended.name = value;
    if (key == "size") {
      extended.size = parsed<std::uint64_t>(value, 10);
      if (!extended.size) damaged();
    }
    if (key.starts_with("GNU.sparse.")) extended.sparse = true;
  }
}

void TarReader::note_extension(char type, std::uint64_t size, Extended& extended) {
  if (type == 'x' || type == 'g') apply_pax(content(size, "a PAX header"), extended, type == 'g');
  if (type == 'L') {
    extended.name = content(size, "a long name");
    extended.name.resize(std::min(extended.name.find('\0'), extended.name.size()));
  }
  if (type == 'K') content(size, "a long link");
}

void TarReader::describe(const Extended& extended, TarMember& member) {
  member.kind = extended.sparse ? TarKind::kSparse : kind_of(as_text(header_)[kType]);
  member.name = extended.name;
  if (member.name.empty()) {
    const bool ustar = field(kMagic, 6) == "ustar";
    const std::string_view prefix = ustar ? field(kPrefix, kPrefixLength) : std::string_view();
    member.name = prefix.empty() ? std::string() : std::string(prefix) + '/';
    member.name += field(kName, kNameLength);
  }
  if (member.name.size() > kMaxName || member.name.find('\0') != std::string::npos)
    fail_data(name_, ": the name of the member at byte ", position_, " has ", member.name.size(),
              " bytes or a zero byte in it");
  // Before POSIX, a folder was a file whose name ends in a slash.
  if (member.kind == TarKind::kFile && member.name.ends_with('/')) member.kind = TarKind::kFolder;
}

bool TarReader::next(TarMember& member) {
  Extended extended;
  while (read_header()) {
    const char type = as_text(header_)[kType];
    const bool extension = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    std::uint64_t size = number(kSize, kSizeLength, "size");
    if (!extension && extended.size) size = *extended.size;
    if (!extension) describe(extended, member);
    const bool has_content = type != '1' && type != '2' && type != '3' && type != '4' && type != '5' && type != '6';
    if (!has_content) size = 0;
    if (size > size_ - position_ - kBlock)
      fail_data(name_, ": ", extension ? "an extended header" : printable(member.name), " at byte ", position_,
                " claims ", size, " bytes, but the archive ends ", size_ - position_ - kBlock,
                " bytes after its header; it was cut off or is damaged");
    if (extension) note_extension(type, size, extended);
    member.offset = position_ + kBlock;
    member.size = size;
    position_ += kBlock + padded_size(size);
    if (!extension) return true;
  }
  return false;
}

namespace {

void put(std::array<char, kBlock>& header, std::size_t offset, std::string_view value) {
  std::copy(value.begin(), value.end(), header.begin() + static_cast<std::ptrdiff_t>(offset));
}

std::string octal(std::uint64_t value, std::size_t width) {
  std::string digits(width, '0');
  for (std::size_t i = width; i-- > 0 && value != 0; value >>= 3) digits[i] = static_cast<char>('0' + (value & 7));
  return digits;
}

std::string pax_record(std::string_view key, std::string_view value) {
  const std::string rest = text(' ', key, '=', value, '\n');
  std::size_t length = rest.size();
  for (std::size_t digits = 0; digits != std::to_string(length).size();) {
    digits = std::to_string(length).size();
    length = rest.size() + digits;
  }
  return std::to_string(length) + rest;
}

}  // namespace

void TarWriter::padded(std::span<const std::byte> content) {
  static constexpr std::array<std::byte, kBlock> kZeros{};
  write_(content);
  const auto padding = static_cast<std::size_t>(padded_size(content.size()) - content.size());
  if (padding > 0) write_(std::span(kZeros).first(padding));
  written_ += content.size() + padding;
}

void TarWriter::block_header(std::string_view name, char type, std::uint64_t size) {
  std::array<char, kBlock> header{};
  put(header, kName, name.substr(0, kNameLength));
  put(header, kMode, "0000644");
  put(header, kUser, "0000000");
  put(header, kGroup, "0000000");
  put(header, kSize, octal(size, kSizeLength - 1));
  put(header, kTime, octal(0, 11));
  header[kType] = type;
  put(header, kMagic,
      std::string_view("ustar\0"
                       "00",
                       8));
  const auto sum = static_cast<std::uint64_t>(checksums({header.data(), kBlock}).first);
  put(header, kSum, octal(sum, 6));
  header[kSum + 7] = ' ';
  padded(std::as_bytes(std::span(header)));
}

void TarWriter::add(std::string_view name, std::span<const std::byte> content) {
  constexpr std::uint64_t kLargestOctal = (std::uint64_t{1} << 33) - 1;
  invariant(!name.empty() && name.size() <= kMaxName && content.size() <= kLargestOctal, "tar: cannot store ", name);
  if (name.size() > kNameLength) {
    const std::string record = pax_record("path", name);
    block_header("PaxHeader", 'x', record.size());
    padded(std::as_bytes(std::span(record.data(), record.size())));
  }
  block_header(name, '0', content.size());
  padded(content);
}

void TarWriter::finish() {
  static constexpr std::array<std::byte, 2 * kBlock> kEnd{};
  padded(kEnd);
}

}  // namespace lacuna
