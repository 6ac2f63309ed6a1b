#pragma once
// A file that takes long to make: written piece by piece under a working name, gone on with by a later process, and
// renamed when it is whole. Faults are Errors that name the file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace lacuna {

class WorkFile {
 public:
  // Opens or creates the file and holds it: a second holder, in any process, is refused.
  explicit WorkFile(std::filesystem::path path);
  ~WorkFile();
  WorkFile(const WorkFile&) = delete;
  WorkFile& operator=(const WorkFile&) = delete;

  void write_at(std::uint64_t place, std::span<const std::byte> bytes);
  void read_at(std::uint64_t place, std::span<std::byte> bytes) const;  // Error(kBadData) when it ends before that
  std::uint64_t size() const;
  void resize(std::uint64_t bytes);  // what is added reads as zero and takes no room until it is written
  void sync();                       // what was written survives a loss of power
  // Makes it the file `target`, durably and at once; this object must not be used afterwards.
  void become(const std::filesystem::path& target);

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail_at(const char* action) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Writes on from a place in pieces of any size, and keeps count and CRC-32 of them. The last pieces reach the file
// with flush().
class RunWriter {
 public:
  RunWriter(WorkFile& file, std::uint64_t place) : file_(file), begin_(place) {}

  void put(std::string_view bytes);
  void flush();
  std::uint64_t written() const { return flushed_ + buffer_.size(); }
  std::uint32_t crc() const { return crc_; }

 private:
  WorkFile& file_;
  std::uint64_t begin_;
  std::uint64_t flushed_ = 0;
  std::uint32_t crc_ = 0;
  std::string buffer_;
};

std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace lacuna
