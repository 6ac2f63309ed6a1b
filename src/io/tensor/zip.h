#pragma once
// ZIP archives (APPNOTE 6.3.9) as programs that save weights write them: stored entries, 32 or 64 bit, with or without
// data descriptors. The central directory is what counts; every local header must agree with it.
//
// The reader trusts nothing: each offset and size is checked against the file, no two entries may share a byte, and
// each violation throws Error(kBadData) with one sentence. Encrypted archives are refused. A compressed entry may stand
// in the archive (TorchScript compresses its code) but is refused where its content is needed, or unpacked into a
// stated number of bytes at most. Non-goals: archives split over several files, and bytes before the first or after the
// last record, which would let two programs see two archives in one file.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lacuna {

struct ZipEntry {
  std::string_view name;            // of any bytes, not empty; never a path to be written to
  std::span<const std::byte> data;  // as it lies in the file
  std::uint16_t method = 0;         // 0: stored as it is
  std::uint64_t size = 0;           // of the content; the bytes of `data` if it is stored
  std::uint32_t crc = 0;            // of the content; 0 where the writer was told not to compute it
};

class ZipArchive {
 public:
  // `bytes` is a whole file that outlives the archive; `file` names it in errors.
  ZipArchive(std::span<const std::byte> bytes, std::string file);

  const std::vector<ZipEntry>& entries() const { return entries_; }  // in the order of the directory
  const ZipEntry* find(std::string_view name) const;                 // or null
  // The same, or Error if the entry is compressed.
  const ZipEntry* find_stored(std::string_view name) const;

  // Error if the entry's bytes do not have its checksum. Not done for all on opening: it would read a file of
  // gigabytes twice, and the formats of weights beside this one have no checksum at all.
  void verify(const ZipEntry& entry) const;

  // The content of an entry, unpacked if it is deflated; nothing if it has more than `max_bytes` or is packed
  // otherwise.
  std::optional<std::string> content(const ZipEntry& entry, std::uint64_t max_bytes) const;

 private:
  std::string file_;
  std::vector<ZipEntry> entries_;
  std::map<std::string_view, std::size_t> places_;
};

bool begins_like_zip(std::span<const std::byte> bytes);

}  // namespace lacuna
