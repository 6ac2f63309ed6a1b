#pragma once
// A file that many threads read at positions of their own, and what tells whether a file is still the one it was.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lacuna {

// What stat says of a file or folder. Two equal stamps mean: not replaced, and not written to within the resolution of
// the file system's clock.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

// Follows links. Nothing for what is not there or may not be looked at.
std::optional<FileStamp> stamp_of(const std::filesystem::path& path);

// Faults are Error(kBadData) that name the file: one unreadable file must not stop a run.
class PositionedFile {
 public:
  explicit PositionedFile(std::filesystem::path path);
  ~PositionedFile();
  PositionedFile(const PositionedFile&) = delete;
  PositionedFile& operator=(const PositionedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  FileStamp stamp() const;  // as it is now, also when it has been replaced under its name meanwhile

  // Fills `into`; a file that ends before that is a fault.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// The whole of a file, into a buffer whose capacity is kept; nothing else is allocated. More than `max_bytes` are
// refused before they are. Faults are Error(kBadData) too.
void read_whole_file(const std::string& path, std::uint64_t max_bytes, std::vector<std::uint8_t>& into);

}  // namespace lacuna
