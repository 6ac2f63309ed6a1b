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

}  // namespace

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return stamp_from(status);
}

// O_NONBLOCK: a named pipe must be refused, not waited for.
PositionedFile::PositionedFile(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) fail_data(path_.string(), ": cannot be opened for reading: ", reason(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode)) return;
  ::close(descriptor_);
  fail_data(path_.string(), ": expected a regular file, found a folder, pipe or device");
}

PositionedFile::~PositionedFile() { ::close(descriptor_); }

FileStamp PositionedFile::stamp() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_data(path_.string(), ": cannot be looked at: ", reason(errno));
  return stamp_from(status);
}

void PositionedFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t got = ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_data(path_.string(), ": cannot be read at byte ", offset, ": ", reason(errno));
    if (got == 0) fail_data(path_.string(), ": ends at byte ", offset, ", ", into.size(), " bytes early");
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace lacuna
