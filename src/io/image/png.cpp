// PNG through libspng, which is handed image data that libdeflate has inflated, in stored blocks.
//
// Only IHDR, PLTE and IDAT are read: ancillary chunks have no effect on the pixels we want (transparency is dropped,
// gamma and profiles are ignored), so damage inside them is no reason to fail, and what Pillow accepts or refuses is
// decided here. The checks are Pillow's: the checksum of every chunk before the image data, none for the IDAT chunks
// (deflate's own is verified), and nothing about what follows them.
//
// Image data that libdeflate does not take to its end (cut off, damaged, more or less than the rows need), or that are
// too many to hold, go to libspng and zlib as they are, which read row by row and have the last word. libdeflate reads
// a few codes that zlib refuses because no encoder writes them; where the checksum then holds, so does the image.

#include <libdeflate.h>
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
constexpr std::size_t kFrameBytes = 12;                      // length, type and checksum around a chunk's data
constexpr std::uint64_t kMaxInflation = 1032;                // of deflate: 258 bytes out of 2 bits
constexpr std::size_t kMostAtOnce = std::size_t{128} << 20;  // inflated bytes that are held

std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

struct Chunk {
  std::string_view type;
  Bytes framed;  // length, type, data and checksum; cut where the file ends
  Bytes data;
  bool whole = false;
  bool checksum_fits() const {
    return libdeflate_crc32(0, framed.data() + 4, 4 + data.size()) == big_endian(framed.data() + 8 + data.size());
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

struct Png {
  std::vector<std::uint8_t> header;  // signature, IHDR and PLTE, as they are in a file
  bool has_palette = false;
  Bytes data;                        // of all IDAT chunks
  std::vector<std::uint8_t> joined;  // which has them when there are several
};

// Copies the header chunks that matter, checked, and returns the position of the first IDAT.
std::size_t copy_header(Bytes file, const std::string& name, Png& png) {
  bool seen_header = false;
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
    if (is_header != !seen_header || (is_palette && png.has_palette)) {
      fail_data(name, ": damaged PNG: unexpected ", printable(chunk.type), " chunk");
    }
    seen_header = true;
    png.has_palette = png.has_palette || is_palette;
    if (is_header || is_palette) append(png.header, chunk.framed);
    position += chunk.framed.size();
  }
}

Png parts_of(Bytes file, const std::string& name) {
  Png png;
  append(png.header, file.first(kSignatureBytes));
  std::size_t position = copy_header(file, name, png);
  Chunk chunk = chunk_at(file, position);
  png.data = chunk.data;
  for (;;) {
    position += chunk.framed.size();
    chunk = chunk_at(file, position);
    if (chunk.type != "IDAT") return png;
    if (png.joined.empty()) {
      png.joined.reserve(file.size());
      append(png.joined, png.data);
    }
    append(png.joined, chunk.data);
    png.data = png.joined;
  }
}

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

void require(int status, const std::string& name) {
  if (status != SPNG_OK) fail_data(name, ": damaged PNG: ", spng_strerror(status));
}

unsigned channels_of(const spng_ihdr& header) {
  static constexpr std::array<unsigned, 7> kChannels = {1, 0, 3, 1, 2, 0, 4};
  return kChannels[header.color_type];
}

// Refuses an image that this much compressed data cannot hold.
void check_inflation(const spng_ihdr& header, std::size_t image_bytes, const std::string& name) {
  const std::uint64_t bits = std::uint64_t{header.width} * channels_of(header) * header.bit_depth;
  const std::uint64_t needed = bits / 8 * header.height;
  if (needed > image_bytes * kMaxInflation) {
    fail_data(name, ": damaged PNG: ", image_bytes, " bytes of image data cannot hold ", header.width, " x ",
              header.height, " pixels");
  }
}

// Of all rows as they are deflated, each with the byte that names its filter; of an interlaced image of its passes.
std::size_t inflated_bytes(const spng_ihdr& header) {
  struct Grid {
    std::uint32_t left, top, across, down;
  };
  static constexpr std::array<Grid, 1> kWhole = {{{0, 0, 1, 1}}};
  static constexpr std::array<Grid, 7> kAdam7 = {
      {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
  const auto steps = [](std::uint32_t size, std::uint32_t first, std::uint32_t step) -> std::size_t {
    return size > first ? (size - first + step - 1) / step : 0;
  };
  const std::size_t bits = std::size_t{channels_of(header)} * header.bit_depth;
  std::size_t bytes = 0;
  for (const Grid& grid :
       header.interlace_method != 0 ? std::span<const Grid>(kAdam7) : std::span<const Grid>(kWhole)) {
    const std::size_t columns = steps(header.width, grid.left, grid.across);
    if (columns > 0) bytes += steps(header.height, grid.top, grid.down) * (1 + (columns * bits + 7) / 8);
  }
  return bytes;
}

// The filtered rows; null where libdeflate has not found exactly them.
std::unique_ptr<std::uint8_t[]> inflate(Bytes data, std::size_t size) {
  using Inflater = std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)>;
  if (size > kMostAtOnce) return nullptr;
  const Inflater inflater(libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (!inflater) throw std::bad_alloc();
  auto rows = std::make_unique_for_overwrite<std::uint8_t[]>(size);
  std::size_t taken = 0;
  const libdeflate_result result =
      libdeflate_zlib_decompress_ex(inflater.get(), data.data(), data.size(), rows.get(), size, &taken, nullptr);
  if (result != LIBDEFLATE_SUCCESS || taken != data.size()) return nullptr;
  return rows;
}

// Appends a zlib stream that holds the bytes as they are, in stored blocks.
void append_stored(std::vector<std::uint8_t>& out, Bytes bytes) {
  constexpr std::size_t kBlock = 65535;
  out.insert(out.end(), {0x78, 0x01});
  do {
    const Bytes block = bytes.first(std::min(bytes.size(), kBlock));
    bytes = bytes.subspan(block.size());
    out.push_back(bytes.empty() ? 1 : 0);  // whether it is the last
    const int size = static_cast<int>(block.size());
    for (const int number : {size, size ^ 0xFFFF}) {
      out.push_back(static_cast<std::uint8_t>(number));
      out.push_back(static_cast<std::uint8_t>(number >> 8));
    }
    append(out, block);
  } while (!bytes.empty());
  out.resize(out.size() + 4);  // a checksum that is not asked for
}

// A file with one IDAT chunk for libspng.
std::vector<std::uint8_t> png_file(const Png& png, Bytes data, bool inflated) {
  std::vector<std::uint8_t> out;
  out.reserve(png.header.size() + data.size() + data.size() / 8192 + 64);
  append(out, png.header);
  const std::size_t frame = out.size();
  out.resize(frame + 8);
  inflated ? append_stored(out, data) : append(out, data);
  put_big_endian(static_cast<std::uint32_t>(out.size() - frame - 8), &out[frame]);
  std::memcpy(&out[frame + 4], "IDAT", 4);
  const std::uint32_t checksum = libdeflate_crc32(0, &out[frame + 4], out.size() - frame - 4);
  out.resize(out.size() + 4);
  put_big_endian(checksum, &out[out.size() - 4]);
  return out;
}

spng_ihdr header_of(spng_ctx* context, Bytes file, const std::string& name) {
  require(spng_set_png_buffer(context, file.data(), file.size()), name);
  spng_ihdr header{};
  require(spng_get_ihdr(context, &header), name);
  return header;
}

Context make_context() {
  Context context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  return context;
}

// 16-bit gray is clamped: what every Pillow does. Scaling keeps the high byte, as 16-bit colour does.
void decode_gray16(spng_ctx* context, Image& image, const std::string& name, const DecodeOptions& options) {
  std::vector<std::uint16_t> gray(image.pixels.size() / 3);
  require(spng_decode_image(context, gray.data(), gray.size() * sizeof gray[0], SPNG_FMT_PNG, 0), name);
  const auto level = [&](int value) {
    if (options.range) return level_in_range(value, *options.range);
    return static_cast<std::uint8_t>(options.scale_gray16 ? value >> 8 : std::min(value, 255));
  };
  for (std::size_t i = 0; i < gray.size(); ++i)
    std::fill_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(i * 3), 3, level(gray[i]));
}

// `inflated`: the rows, inflated and checked here; else libspng and zlib do both.
void decode_by_spng(const Png& png, const spng_ihdr& header, std::span<const std::uint8_t> inflated, Image& image,
                    const std::string& name, const DecodeOptions& options) {
  const Context context = make_context();
  if (!inflated.empty()) require(spng_set_crc_action(context.get(), SPNG_CRC_USE, SPNG_CRC_USE), name);
  const std::vector<std::uint8_t> file = png_file(png, inflated.empty() ? png.data : inflated, !inflated.empty());
  require(spng_set_png_buffer(context.get(), file.data(), file.size()), name);
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16)
    return decode_gray16(context.get(), image, name, options);
  if (options.range && header.bit_depth == 16)
    fail_data(name, ": a PNG of 16-bit colour, of which data.range would see the high bytes alone; store it as TIFF");
  require(spng_decode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_RGB8, 0), name);
  if (options.range) map_range(image, *options.range);
}

}  // namespace

Image decode_png(Bytes bytes, const std::string& name, const DecodeLimits& limits, const DecodeOptions& options) {
  const Png png = parts_of(bytes, name);
  const spng_ihdr header = header_of(make_context().get(), png.header, name);
  check_image_size(header.width, header.height, name, limits);
  check_inflation(header, png.data.size(), name);
  const std::size_t size = inflated_bytes(header);
  const std::unique_ptr<std::uint8_t[]> rows = inflate(png.data, size);
  Image image(static_cast<int>(header.width), static_cast<int>(header.height));
  decode_by_spng(png, header, rows ? std::span<const std::uint8_t>(rows.get(), size) : std::span<const std::uint8_t>(),
                 image, name, options);
  return image;
}

}  // namespace lacuna
