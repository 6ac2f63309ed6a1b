#pragma once
// Whole files: bounded reads, atomic writes, content hashes, JSON.
//
// Every writer here follows one order: a temporary name in the same folder, the bytes, fsync, rename, fsync of the
// folder. A reader therefore sees the old file or the new one, never a part, also after a loss of power. A process
// that is killed on the way leaves `.NAME.PID.N.tmp` behind. All faults are `Error`s that name the file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace lacuna {

// XXH3-128 of a sequence of bytes. For telling content apart, not for security.
class ContentHash {
 public:
  ContentHash();
  void update(std::span<const std::byte> bytes);
  std::string hex() const;  // 32 digits, high half first, as `xxh128sum` prints them

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

// XXH3-64 of bytes in memory, likewise.
std::uint64_t content_hash64(std::span<const std::byte> bytes);

// A file mapped read-only. Non-goal: a file that another process shrinks while it is mapped; reading the lost pages
// then raises SIGBUS. The atomic writers below replace files and so leave mappings of the old content intact.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  std::span<const std::byte> bytes() const { return {data_.get(), data_.get_deleter().size}; }
  // Takes the whole pages of `part` out of this process's memory, if they are the file's. Reading brings them back,
  // from the system's cache as a rule.
  void let_go(std::span<const std::byte> part) const;

 private:
  struct Unmap {
    std::size_t size;
    void operator()(const std::byte* data) const;
  };
  std::unique_ptr<const std::byte, Unmap> data_;
};

// While it lives, reads of mapped memory bring in only the pages that are touched: what lies scattered over gigabytes
// is then read without its surroundings.
class ScatteredReads {
 public:
  explicit ScatteredReads(std::span<const std::byte> bytes);
  ~ScatteredReads();
  ScatteredReads(const ScatteredReads&) = delete;
  ScatteredReads& operator=(const ScatteredReads&) = delete;

 private:
  std::span<const std::byte> bytes_;
};

// A file that appears under its name when committed. Destroyed before that, it leaves nothing.
class AtomicFile {
 public:
  // Fails early when the disk has less than `bytes_needed` free.
  AtomicFile(std::filesystem::path path, std::uint64_t bytes_needed);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  std::string commit();  // returns the ContentHash of what was written

 private:
  void write_chunk(std::span<const std::byte> chunk);
  [[noreturn]] void fail_write(const char* action, int code) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::uint64_t bytes_needed_;
  int descriptor_ = -1;
  ContentHash hash_;
};

// Holds a folder for this process: a second holder, in any process, is refused. Let go when destroyed or when the
// process ends, however it ends.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);  // Error when another process holds it
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

// Makes renames and removals in a folder durable.
void sync_directory(const std::filesystem::path& folder);

// ContentHash of a file: what write_safetensors and AtomicFile::commit returned for it.
std::string hash_file(const std::filesystem::path& path);

// JSON nested at most 64 deep. Faults name file, line and column.
nlohmann::json read_json(const std::filesystem::path& path, std::uint64_t max_bytes = 64 << 20);
void write_json_atomic(const std::filesystem::path& path, const nlohmann::json& value);  // indented by two

// Removes a file or a folder with all below it; symbolic links are removed, not followed. Absent is fine.
void remove_tree(const std::filesystem::path& path);

// Puts the folder `fresh` in the place of `target`, beside it, in one step; what stood there is removed.
void replace_folder(const std::filesystem::path& fresh, const std::filesystem::path& target);

// What an unprivileged user may still write to the disk of `path`, or of its nearest existing parent.
std::uint64_t free_bytes(const std::filesystem::path& path);

// Megabytes (10^6) per second at which `bytes` of incompressible data reach the disk, fsync included.
double measure_write_speed(const std::filesystem::path& folder, std::uint64_t bytes);

// Text from outside made fit for a message: control and non-ASCII bytes as \xNN, cut after `limit` characters.
std::string printable(std::string_view text, std::size_t limit = 160);

}  // namespace lacuna
