#include "io/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

constexpr std::size_t kChunk = std::size_t{4} << 20;  // hashed and written while still in the cache
constexpr int kMaxJsonDepth = 64;

std::string reason(int code) { return std::generic_category().message(code); }

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

// Opens a regular file and tells its size. O_NONBLOCK: a named pipe must be refused, not waited for.
int open_to_read(const std::filesystem::path& path, std::uint64_t& size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  check(descriptor >= 0, path.string(), ": cannot open the file for reading: ", reason(errno));
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(path.string(), ": expected a regular file, found a folder, pipe or device");
  }
  size = static_cast<std::uint64_t>(status.st_size);
  return descriptor;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// nlohmann's "[json.exception.parse_error.101] parse error at line 1, column 2: ..." from "line" on.
std::string json_fault(const nlohmann::json::exception& fault) {
  const std::string_view what = fault.what();
  const std::size_t line = what.find("line ");
  return printable(line == std::string_view::npos ? what : what.substr(line), 400);
}

// Of the whole pages of `part`; a hint, so that a refusal changes nothing.
void advise(std::span<const std::byte> part, int advice) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = (page - reinterpret_cast<std::uintptr_t>(part.data()) % page) % page;
  if (part.size() < before + page) return;
  ::madvise(const_cast<std::byte*>(part.data()) + before, (part.size() - before) / page * page, advice);
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else {
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text.size() > limit ? out + "..." : out;
}

ContentHash::ContentHash() : state_(XXH3_createState()) {
  invariant(state_ != nullptr, "no memory for a hash state");
  XXH3_128bits_reset(state_.get());
}

std::uint64_t content_hash64(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

void ContentHash::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

void ContentHash::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

std::string ContentHash::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  std::string out;
  for (const std::uint64_t half : {hash.high64, hash.low64}) {
    for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[(half >> shift) & 15];
  }
  return out;
}

MappedFile::MappedFile(const std::filesystem::path& path) : data_(nullptr, Unmap{0}) {
  std::uint64_t size = 0;
  const Descriptor file(open_to_read(path, size));
  if (size == 0) return;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
  check(data != MAP_FAILED, path.string(), ": cannot map ", size, " bytes into memory: ", reason(errno));
  data_ = {static_cast<const std::byte*>(data), Unmap{size}};
}

void MappedFile::let_go(std::span<const std::byte> part) const {
  const auto start = reinterpret_cast<std::uintptr_t>(data_.get()),
             first = reinterpret_cast<std::uintptr_t>(part.data());
  if (first >= start && first + part.size() <= start + bytes().size()) advise(part, MADV_DONTNEED);
}

ScatteredReads::ScatteredReads(std::span<const std::byte> bytes) : bytes_(bytes) { advise(bytes_, MADV_RANDOM); }

ScatteredReads::~ScatteredReads() { advise(bytes_, MADV_NORMAL); }

void MappedFile::Unmap::operator()(const std::byte* data) const { ::munmap(const_cast<std::byte*>(data), size); }

AtomicFile::AtomicFile(std::filesystem::path path, std::uint64_t bytes_needed)
    : path_(std::move(path)), bytes_needed_(bytes_needed) {
  check(path_.has_filename(), path_.string(), ": expected the path of a file to write, found a folder's");
  check(!std::filesystem::is_directory(path_), path_.string(), ": expected a file to replace, found a folder");
  const std::filesystem::path folder = folder_of(path_);
  check(std::filesystem::is_directory(folder), path_.string(), ": cannot write there: the folder ", folder.string(),
        " does not exist; create it first");
  const std::uint64_t available = free_bytes(folder);
  check(available >= bytes_needed_, path_.string(), ": the disk is too full: ", bytes_needed_, " bytes are needed, ",
        available, " are free; make room or choose another folder");
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = folder / text(".", path_.filename().string(), ".", ::getpid(), ".", attempt, ".tmp");
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) fail_write("create", errno);
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<const std::byte> chunk = bytes.first(std::min(kChunk, bytes.size()));
    hash_.update(chunk);
    write_chunk(chunk);
    bytes = bytes.subspan(chunk.size());
  }
}

void AtomicFile::write_chunk(std::span<const std::byte> chunk) {
  while (!chunk.empty()) {
    const ssize_t written = ::write(descriptor_, chunk.data(), chunk.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_write("write", errno);
    chunk = chunk.subspan(static_cast<std::size_t>(written));
  }
}

std::string AtomicFile::commit() {
  invariant(descriptor_ >= 0, path_.string(), ": committed twice");
  if (::fsync(descriptor_) != 0) fail_write("sync", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write("rename", errno);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0) fail_write("close", errno);
  sync_directory(folder_of(path_));
  return hash_.hex();
}

void AtomicFile::fail_write(const char* action, int code) const {
  fail(path_.string(), ": cannot ", action, " the file (", bytes_needed_, " bytes are needed): ", reason(code));
}

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  check(descriptor_ >= 0, path.string(), ": cannot be opened: ", std::strerror(errno));
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(descriptor_);
  fail(folder.string(), ": another process is working in this folder; wait for it, or stop it first");
}

FolderLock::~FolderLock() { ::close(descriptor_); }

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  std::uint64_t size = 0;
  const Descriptor file(open_to_read(path, size));
  if (size > max_bytes) fail_data(path.string(), ": expected at most ", max_bytes, " bytes, found ", size);
  std::string content(size, '\0');
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = ::read(file.number(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    check(got >= 0, path.string(), ": cannot read the file: ", reason(errno));
    if (got == 0)
      fail_data(path.string(), ": expected ", size, " bytes, found ", filled, ": it shrank while being read");
    filled += static_cast<std::size_t>(got);
  }
  return content;
}

void write_file_atomic(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path, content.size());
  file.write(as_bytes(content));
  file.commit();
}

void sync_directory(const std::filesystem::path& folder) {
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(directory.number() >= 0, folder.string(), ": cannot open the folder: ", reason(errno));
  // Some network file systems do not sync folders (EINVAL); their renames are durable by other means.
  check(::fsync(directory.number()) == 0 || errno == EINVAL, folder.string(),
        ": cannot sync the folder: ", reason(errno));
}

std::string hash_file(const std::filesystem::path& path) {
  ContentHash hash;
  hash.update(MappedFile(path).bytes());
  return hash.hex();
}

nlohmann::json read_json(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const std::string content = read_file(path, max_bytes);
  // The parser would take a zero byte for the end and ignore what follows.
  if (content.find('\0') != std::string::npos) fail_data(path.string(), ": expected JSON, found a zero byte");
  const auto bound_depth = [&path](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    if (depth > kMaxJsonDepth) fail_data(path.string(), ": expected JSON nested at most ", kMaxJsonDepth, " deep");
    return true;
  };
  try {
    return nlohmann::json::parse(content, bound_depth);
  } catch (const nlohmann::json::exception& fault) {
    fail_data(path.string(), ": expected JSON, but at ", json_fault(fault));
  }
}

void write_json_atomic(const std::filesystem::path& path, const nlohmann::json& value) {
  try {
    write_file_atomic(path, value.dump(2) + "\n");
  } catch (const nlohmann::json::exception& fault) {  // dump refuses strings that are not UTF-8
    fail(path.string(), ": cannot write the value as JSON: ", json_fault(fault));
  }
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::remove_all(path, code);
  check(!code, path.string(), ": cannot remove it: ", code.message());
}

void replace_folder(const std::filesystem::path& fresh, const std::filesystem::path& target) {
  sync_directory(fresh);
  const bool exists = std::filesystem::exists(target);
  const unsigned flags = exists ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  check(::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), flags) == 0, target.string(),
        ": cannot put the new folder there: ", reason(errno));
  sync_directory(target.parent_path());
  if (exists) remove_tree(fresh);
}

std::uint64_t free_bytes(const std::filesystem::path& path) {
  std::filesystem::path existing = std::filesystem::absolute(path);
  while (!std::filesystem::exists(existing) && existing != existing.parent_path()) existing = existing.parent_path();
  struct statvfs status {};
  check(::statvfs(existing.c_str(), &status) == 0, path.string(), ": cannot tell the free space: ", reason(errno));
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

double measure_write_speed(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::vector<std::uint64_t> noise(kChunk / sizeof(std::uint64_t));
  Rng rng(0, Purpose::kTest);
  for (std::uint64_t& word : noise) word = rng.bits64();
  const std::span<const std::byte> chunk = std::as_bytes(std::span<const std::uint64_t>(noise));
  const std::filesystem::path path = folder / text(".write_speed.", ::getpid());
  const auto start = std::chrono::steady_clock::now();
  {
    AtomicFile file(path, bytes);
    for (std::uint64_t left = bytes; left > 0;) {
      const std::size_t now = std::min<std::uint64_t>(left, chunk.size());
      file.write(chunk.first(now));
      left -= now;
    }
    file.commit();
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  remove_tree(path);
  return static_cast<double>(bytes) / 1e6 / spent.count();
}

}  // namespace lacuna
