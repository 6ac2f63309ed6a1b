#include "io/positioned_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

std::string reason(int code) { return std::generic_category().message(code); }

FileStamp stamp_from(const struct stat& status) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .modified_ns = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec};
}

// Given back to its owner open, for reading at any position. O_NONBLOCK: a named pipe must be refused, not waited for.
int open_regular(const char* path, struct stat& status) {
  const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail_data(path, ": cannot be opened for reading: ", reason(errno));
  if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) return descriptor;
  ::close(descriptor);
  fail_data(path, ": expected a regular file, found a folder, pipe or device");
}

void read_at(int descriptor, const char* path, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t got = ::pread(descriptor, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_data(path, ": cannot be read at byte ", offset, ": ", reason(errno));
    if (got == 0) fail_data(path, ": ends at byte ", offset, ", ", into.size(), " bytes early");
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return stamp_from(status);
}

PositionedFile::PositionedFile(std::filesystem::path path) : path_(std::move(path)) {
  struct stat status {};
  descriptor_ = open_regular(path_.c_str(), status);
}

PositionedFile::~PositionedFile() { ::close(descriptor_); }

FileStamp PositionedFile::stamp() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_data(path_.string(), ": cannot be looked at: ", reason(errno));
  return stamp_from(status);
}

void PositionedFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  read_at(descriptor_, path_.c_str(), offset, into);
}

void read_whole_file(const std::string& path, std::uint64_t max_bytes, std::vector<std::uint8_t>& into) {
  struct Descriptor {
    int number;
    ~Descriptor() { ::close(number); }
  };
  struct stat status {};
  const Descriptor file{open_regular(path.c_str(), status)};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) fail_data(path, ": has ", size, " bytes, more than the limit of ", max_bytes);
  into.resize(static_cast<std::size_t>(size));
  read_at(file.number, path.c_str(), 0, std::as_writable_bytes(std::span(into)));
}

}  // namespace lacuna
