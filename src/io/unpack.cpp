#include "io/unpack.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

using Taker = std::function<void(std::span<const std::byte>)>;

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr int kGzipOnly = 16 + MAX_WBITS;  // zlib's way to say: a gzip header, not a zlib one
constexpr const char* kNext = ". Fetch the file again, or give it unpacked";

bool starts_with(std::span<const std::byte> bytes, std::initializer_list<unsigned> magic) {
  if (bytes.size() < magic.size()) return false;
  return std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](unsigned a, std::byte b) { return a == std::to_integer<unsigned>(b); });
}

bool is_gzip(std::span<const std::byte> bytes) { return starts_with(bytes, {0x1F, 0x8B}); }
bool is_zstd(std::span<const std::byte> bytes) { return starts_with(bytes, {0x28, 0xB5, 0x2F, 0xFD}); }

// Counts what leaves, and stops at the bound.
class Outlet {
 public:
  Outlet(const std::string& name, std::uint64_t max_bytes, const Taker& take)
      : name_(name), max_bytes_(max_bytes), take_(take) {}

  void put(std::span<const std::byte> piece) {
    if (piece.size() > max_bytes_ - total_)
      fail_data(name_, ": expected at most ", max_bytes_, " bytes once unpacked, found more");
    total_ += piece.size();
    if (!piece.empty()) take_(piece);
  }
  std::uint64_t total() const { return total_; }

 private:
  const std::string& name_;
  std::uint64_t max_bytes_;
  const Taker& take_;
  std::uint64_t total_ = 0;
};

struct Inflater {
  z_stream stream{};
  Inflater() {
    if (inflateInit2(&stream, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

void unpack_gzip(std::span<const std::byte> packed, const std::string& name, Outlet& outlet) {
  Inflater inflater;
  z_stream& stream = inflater.stream;
  std::vector<std::byte> buffer(kPiece);
  for (int result = Z_OK; !packed.empty() || result != Z_STREAM_END;) {
    if (result == Z_STREAM_END) {
      if (!is_gzip(packed)) fail_data(name, ": ", packed.size(), " bytes follow the gzip data", kNext);
      inflateReset(&stream);
    }
    const std::size_t given = std::min(packed.size(), kPiece);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));  // zlib only reads
    stream.avail_in = static_cast<uInt>(given);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    result = inflate(&stream, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    const std::size_t made = buffer.size() - stream.avail_out;
    packed = packed.subspan(given - stream.avail_in);
    if (result == Z_BUF_ERROR && packed.empty()) fail_data(name, ": the gzip file ends too early", kNext);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      fail_data(name, ": the gzip file is damaged", kNext);
    outlet.put(std::span<const std::byte>(buffer).first(made));
  }
}

void unpack_zstd(std::span<const std::byte> packed, const std::string& name, Outlet& outlet) {
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(), &ZSTD_freeDStream);
  if (!stream) throw std::bad_alloc();
  std::vector<std::byte> buffer(kPiece);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t left = 1;  // 0 when a frame is complete and all of it was handed over
  for (;;) {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    const std::size_t before = in.pos;
    left = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(left) != 0) fail_data(name, ": the zstd file is damaged (", ZSTD_getErrorName(left), ")", kNext);
    outlet.put(std::span<const std::byte>(buffer).first(out.pos));
    const bool idle = in.pos == before && out.pos == 0;
    if (in.pos == in.size && (left == 0 || idle)) break;
  }
  if (left != 0) fail_data(name, ": the zstd file ends too early", kNext);
}

}  // namespace

bool is_compressed_name(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".gz" || ending == ".tgz" || ending == ".zst" || ending == ".tzst";
}

std::uint64_t claimed_size(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  if (is_zstd(bytes)) {
    const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
    return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? 0 : size;
  }
  if (!is_gzip(bytes) || bytes.size() < 18) return 0;
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size |= std::to_integer<std::uint64_t>(bytes[bytes.size() - 4 + i]) << (8 * i);
  return size;
}

std::uint64_t unpack(const std::filesystem::path& path, std::uint64_t max_bytes, const Taker& take) {
  const std::string name = path.string();
  const MappedFile file(path);
  Outlet outlet(name, max_bytes, take);
  if (is_gzip(file.bytes())) {
    unpack_gzip(file.bytes(), name, outlet);
  } else if (is_zstd(file.bytes())) {
    unpack_zstd(file.bytes(), name, outlet);
  } else {
    fail_data(name, ": expected a gzip or zstd file, found other bytes", kNext);
  }
  return outlet.total();
}

}  // namespace lacuna
