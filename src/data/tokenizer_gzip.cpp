#include "data/tokenizer_gzip.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <string_view>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr std::string_view kMagic = "\x1F\x8B";
constexpr int kGzipOnly = 16 + MAX_WBITS;  // zlib's way to say: a gzip header, not a zlib one
constexpr const char* kNext = ". Fetch the file again, or give it unpacked";

class Inflater {
 public:
  explicit Inflater(std::string_view packed) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib only reads
    stream_.avail_in = static_cast<uInt>(packed.size());
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills what it can of the buffer. Z_OK, Z_STREAM_END, or what went wrong.
  int fill(std::array<char, 1 << 16>& buffer, std::size_t& filled) {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream_.avail_out = static_cast<uInt>(buffer.size());
    const int result = inflate(&stream_, Z_NO_FLUSH);
    filled = buffer.size() - stream_.avail_out;
    return result;
  }
  std::size_t unread() const { return stream_.avail_in; }

 private:
  z_stream stream_{};
};

}  // namespace

std::string read_gzip(const std::filesystem::path& path, std::uint64_t max_file, std::uint64_t max_bytes) {
  const std::string packed = read_file(path, max_file);
  if (!packed.starts_with(kMagic)) fail_data(path.string(), ": expected a gzip file, found other bytes", kNext);
  Inflater inflater(packed);
  std::string out;
  std::array<char, 1 << 16> buffer;
  for (int result = Z_OK; result != Z_STREAM_END;) {
    std::size_t filled = 0;
    result = inflater.fill(buffer, filled);
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    if (result == Z_BUF_ERROR) fail_data(path.string(), ": the gzip file ends too early", kNext);
    if (result != Z_OK && result != Z_STREAM_END) fail_data(path.string(), ": the gzip file is damaged", kNext);
    if (filled > max_bytes - out.size())
      fail_data(path.string(), ": expected at most ", max_bytes, " bytes once unpacked, found more");
    out.append(buffer.data(), filled);
  }
  if (inflater.unread() != 0) fail_data(path.string(), ": ", inflater.unread(), " bytes follow the gzip data", kNext);
  return out;
}

}  // namespace lacuna
