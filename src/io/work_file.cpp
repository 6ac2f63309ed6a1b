#include "io/work_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 20;
constexpr std::size_t kPiece = std::size_t{1} << 30;  // what one call of the kernel takes at most

}  // namespace

WorkFile::WorkFile(std::filesystem::path path) : path_(std::move(path)) {
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  check(std::filesystem::is_directory(folder), path_.string(), ": cannot write there: the folder ", folder.string(),
        " does not exist; create it first");
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (descriptor_ < 0) fail_at("open");
  struct stat status {};
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  const bool held = regular && ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  if (held) return;
  ::close(std::exchange(descriptor_, -1));
  check(regular, path_.string(), ": expected a regular file to write, found a folder, pipe or device");
  fail(path_.string(), ": another process is writing this file; wait for it, or stop it first");
}

WorkFile::~WorkFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void WorkFile::fail_at(const char* action) const {
  fail(path_.string(), ": cannot ", action, " the file: ", std::generic_category().message(errno));
}

void WorkFile::write_at(std::uint64_t place, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), kPiece), static_cast<off_t>(place));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_at("write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    place += static_cast<std::uint64_t>(written);
  }
}

void WorkFile::read_at(std::uint64_t place, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(descriptor_, bytes.data(), std::min(bytes.size(), kPiece), static_cast<off_t>(place));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_at("read");
    if (got == 0) fail_data(path_.string(), ": expected bytes at ", place, ", found the end of the file");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    place += static_cast<std::uint64_t>(got);
  }
}

std::uint64_t WorkFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_at("measure");
  return static_cast<std::uint64_t>(status.st_size);
}

void WorkFile::resize(std::uint64_t bytes) {
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) fail_at("resize");
}

void WorkFile::sync() {
  if (::fdatasync(descriptor_) != 0) fail_at("sync");
}

void WorkFile::become(const std::filesystem::path& target) {
  if (::fsync(descriptor_) != 0) fail_at("sync");
  if (::rename(path_.c_str(), target.c_str()) != 0) fail_at("rename");
  sync_directory(target.has_parent_path() ? target.parent_path() : std::filesystem::path("."));
}

void RunWriter::put(std::string_view bytes) {
  crc_ = crc32_of(std::as_bytes(std::span(bytes)), crc_);
  buffer_ += bytes;
  if (buffer_.size() >= kBuffer) flush();
}

void RunWriter::flush() {
  file_.write_at(begin_ + flushed_, std::as_bytes(std::span(buffer_)));
  flushed_ += buffer_.size();
  buffer_.clear();
}

std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t before) {
  return static_cast<std::uint32_t>(::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace lacuna
