// PNG through libspng.
//
// libspng gets a cleaned copy of the file, IHDR, PLTE and one IDAT: ancillary chunks have no effect on the pixels we
// want (transparency is dropped, gamma and profiles are ignored), so damage inside them is no reason to fail, and what
// Pillow accepts or refuses is decided here. The checks are Pillow's: the checksum of every chunk before the image
// data, none for the IDAT chunks (the copy gets a right one; deflate's own is verified), and nothing about what follows
// them.

#include <spng.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "base/error.h"
#include "io/files.h"
#include "io/image/decoders.h"

namespace lacuna {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kFrameBytes = 12;        // length, type and checksum around a chunk's data
constexpr std::uint64_t kMaxInflation = 1032;  // of deflate: 258 bytes out of 2 bits

std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

// CRC-32 tables for eight bytes at a time: kCrc[n][v] is the effect of byte v followed by n zero bytes.
constexpr auto kCrc = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t v = 0; v < 256; ++v) {
    std::uint32_t crc = v;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) != 0 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
    tables[0][v] = crc;
  }
  for (std::size_t n = 1; n < 8; ++n) {
    for (std::size_t v = 0; v < 256; ++v) {
      const std::uint32_t before = tables[n - 1][v];
      tables[n][v] = tables[0][before & 0xFFu] ^ (before >> 8);
    }
  }
  return tables;
}();

std::uint32_t crc32(Bytes bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    crc = kCrc[7][(crc ^ p[0]) & 0xFFu] ^ kCrc[6][((crc >> 8) ^ p[1]) & 0xFFu] ^ kCrc[5][((crc >> 16) ^ p[2]) & 0xFFu] ^
          kCrc[4][(crc >> 24) ^ p[3]] ^ kCrc[3][p[4]] ^ kCrc[2][p[5]] ^ kCrc[1][p[6]] ^ kCrc[0][p[7]];
  }
  for (; left > 0; --left, ++p) crc = kCrc[0][(crc ^ *p) & 0xFFu] ^ (crc >> 8);
  return ~crc;
}

struct Chunk {
  std::string_view type;
  Bytes framed;  // length, type, data and checksum; cut where the file ends
  Bytes data;
  bool whole = false;
  bool checksum_fits() const {
    return crc32(framed.subspan(4, 4 + data.size())) == big_endian(framed.data() + 8 + data.size());
  }
};

// The chunk at `position`; an empty type where fewer than eight bytes are left.
Chunk chunk_at(Bytes file, std::size_t position) {
  if (position > file.size() || file.size() - position < 8) return {};
  const Bytes rest = file.subspan(position);
  const std::size_t length = big_endian(rest.data());
  Chunk chunk;
  chunk.type = std::string_view(reinterpret_cast<const char*>(rest.data()) + 4, 4);
  chunk.whole = rest.size() >= kFrameBytes && length <= rest.size() - kFrameBytes;
  chunk.framed = rest.first(chunk.whole ? length + kFrameBytes : rest.size());
  chunk.data = rest.subspan(8, std::min(length, rest.size() - 8));
  return chunk;
}

void append(std::vector<std::uint8_t>& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void put_big_endian(std::uint32_t value, std::uint8_t* p) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

struct CleanPng {
  std::vector<std::uint8_t> bytes;
  std::size_t image_bytes = 0;  // compressed
};

// Copies the header chunks that matter, checked, and returns the position of the first IDAT.
std::size_t copy_header(Bytes file, const std::string& name, std::vector<std::uint8_t>& out) {
  bool seen_header = false;
  bool seen_palette = false;
  for (std::size_t position = kSignatureBytes;;) {
    const Chunk chunk = chunk_at(file, position);
    if (chunk.type.empty()) fail_data(name, ": damaged PNG: the file ends before the image data");
    if (chunk.type == "IDAT") {
      if (!seen_header) fail_data(name, ": damaged PNG: image data before the IHDR chunk");
      return position;
    }
    if (!chunk.whole) fail_data(name, ": damaged PNG: the file ends inside the ", printable(chunk.type), " chunk");
    if (!chunk.checksum_fits())
      fail_data(name, ": damaged PNG: wrong checksum of the ", printable(chunk.type), " chunk");
    const bool is_header = chunk.type == "IHDR";
    const bool is_palette = chunk.type == "PLTE";
    if (is_header != !seen_header || (is_palette && seen_palette)) {
      fail_data(name, ": damaged PNG: unexpected ", printable(chunk.type), " chunk");
    }
    seen_header = true;
    seen_palette = seen_palette || is_palette;
    if (is_header || is_palette) append(out, chunk.framed);
    position += chunk.framed.size();
  }
}

CleanPng clean(Bytes file, const std::string& name) {
  CleanPng png;
  png.bytes.reserve(file.size() + kFrameBytes);
  append(png.bytes, file.first(kSignatureBytes));
  std::size_t position = copy_header(file, name, png.bytes);

  const std::size_t frame = png.bytes.size();
  png.bytes.resize(frame + 8);
  for (Chunk chunk = chunk_at(file, position); chunk.type == "IDAT"; chunk = chunk_at(file, position)) {
    append(png.bytes, chunk.data);
    png.image_bytes += chunk.data.size();
    position += chunk.framed.size();
  }
  std::uint8_t* start = png.bytes.data() + frame;
  put_big_endian(static_cast<std::uint32_t>(png.image_bytes), start);
  std::memcpy(start + 4, "IDAT", 4);
  const std::uint32_t checksum = crc32(Bytes(start + 4, png.image_bytes + 4));
  png.bytes.resize(png.bytes.size() + 4);
  put_big_endian(checksum, &png.bytes[png.bytes.size() - 4]);
  return png;
}

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

void require(int status, const std::string& name) {
  if (status != SPNG_OK) fail_data(name, ": damaged PNG: ", spng_strerror(status));
}

// Refuses an image that this much compressed data cannot hold.
void check_inflation(const spng_ihdr& header, std::size_t image_bytes, const std::string& name) {
  static constexpr std::array<unsigned, 7> kChannels = {1, 0, 3, 1, 2, 0, 4};
  const std::uint64_t bits = std::uint64_t{header.width} * kChannels[header.color_type] * header.bit_depth;
  const std::uint64_t needed = bits / 8 * header.height;
  if (needed > image_bytes * kMaxInflation) {
    fail_data(name, ": damaged PNG: ", image_bytes, " bytes of image data cannot hold ", header.width, " x ",
              header.height, " pixels");
  }
}

// 16-bit gray is clamped: what every Pillow does. Scaling keeps the high byte, as 16-bit colour does.
Image decode_gray16(spng_ctx* context, const spng_ihdr& header, const std::string& name, bool scale) {
  Image image(static_cast<int>(header.width), static_cast<int>(header.height));
  std::vector<std::uint16_t> gray(image.pixels.size() / 3);
  require(spng_decode_image(context, gray.data(), gray.size() * sizeof gray[0], SPNG_FMT_PNG, 0), name);
  for (std::size_t i = 0; i < gray.size(); ++i) {
    const auto value = static_cast<std::uint8_t>(scale ? gray[i] >> 8 : std::min<int>(gray[i], 255));
    std::fill_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(i * 3), 3, value);
  }
  return image;
}

}  // namespace

Image decode_png(Bytes bytes, const std::string& name, const DecodeLimits& limits, const DecodeOptions& options) {
  const CleanPng png = clean(bytes, name);
  const Context context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  require(spng_set_png_buffer(context.get(), png.bytes.data(), png.bytes.size()), name);
  spng_ihdr header{};
  require(spng_get_ihdr(context.get(), &header), name);
  check_image_size(header.width, header.height, name, limits);
  check_inflation(header, png.image_bytes, name);
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16) {
    return decode_gray16(context.get(), header, name, options.scale_gray16);
  }
  Image image(static_cast<int>(header.width), static_cast<int>(header.height));
  require(spng_decode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_RGB8, 0), name);
  return image;
}

}  // namespace lacuna
