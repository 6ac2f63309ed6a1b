#pragma once
// The members of a tar archive, by their place in it. Nothing is ever extracted.
//
// Read: ustar (POSIX.1-1988), the older v7, GNU's long names and binary numbers, PAX headers (POSIX.1-2001: `path` and
// `size`; the archive's global ones only as far as they set neither). Every header's checksum is verified and every
// member must lie inside the archive. Sparse members are named as such, not read. Non-goal: unpacking.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lacuna {

enum class TarKind { kFile, kFolder, kLink, kSparse, kOther };  // kOther: devices, pipes and what nobody knows

struct TarMember {
  std::string name;  // as the archive has it
  TarKind kind = TarKind::kFile;
  std::uint64_t offset = 0;  // of the content, from the beginning of the archive
  std::uint64_t size = 0;    // of the content; 0 for all but files
};

class TarReader {
 public:
  // Fills the span from this offset on; it is never asked beyond `size`.
  using ReadAt = std::function<void(std::uint64_t offset, std::span<std::byte> into)>;

  // `name` is the archive's, for messages.
  TarReader(ReadAt read, std::uint64_t size, std::string name);

  // The next member; false at the end, which is a block of zeros or the end of the file. Throws Error(kBadData) at a
  // damaged header and at a member that reaches past the end; what follows cannot be found then.
  bool next(TarMember& member);

  std::uint64_t position() const { return position_; }  // of the header that comes next

 private:
  struct Extended;  // what headers before the member's own say of it

  void read(std::uint64_t offset, std::span<std::byte> into);
  bool read_header();
  std::string_view field(std::size_t offset, std::size_t length) const;
  std::uint64_t number(std::size_t offset, std::size_t length, const char* what) const;
  std::string content(std::uint64_t size, const char* what);
  void apply_pax(std::string_view records, Extended& extended, bool global) const;
  void note_extension(char type, std::uint64_t size, Extended& extended);
  void describe(const Extended& extended, TarMember& member);

  ReadAt read_;
  std::uint64_t size_;
  std::string name_;
  std::uint64_t position_ = 0;
  std::vector<std::byte> header_;
  std::vector<std::byte> window_;  // a few headers of small members are read at once
  std::uint64_t window_start_ = 0;
};

// Writes members one after the other, as ustar with PAX headers where a name or size needs them, with fixed owner, mode
// and time, so that equal content gives equal archives.
class TarWriter {
 public:
  using Write = std::function<void(std::span<const std::byte>)>;
  explicit TarWriter(Write write) : write_(std::move(write)) {}

  void add(std::string_view name, std::span<const std::byte> content);
  void finish();  // the two empty blocks that end an archive
  std::uint64_t written() const { return written_; }

 private:
  void block_header(std::string_view name, char type, std::uint64_t size);
  void padded(std::span<const std::byte> content);

  Write write_;
  std::uint64_t written_ = 0;
};

}  // namespace lacuna
