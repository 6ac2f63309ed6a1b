// TIFF through libtiff: the first page, as Pillow opens it. libtiff decodes strips and tiles; here their samples become
// 8-bit levels and these become RGB by Pillow's rules. What those rules give no meaning is refused with its layout
// named. The orientation tag is obeyed, as Pillow does for this format alone.

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "base/error.h"
#include "io/files.h"
#include "io/image/decoders.h"
#include "io/image/exif.h"
#include "io/image/tiff_rows.h"

namespace lacuna {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::int64_t kMaxBlockBytes = std::int64_t{1} << 30;    // of one decoded strip or tile, all planes together
constexpr std::int64_t kMaxLibraryBytes = std::int64_t{1} << 28;  // of one allocation inside libtiff
constexpr int kMaxSamples = 256;

// ---- A file in memory

struct Memory {
  Bytes file;
  toff_t position = 0;
  std::array<char, 256> message{};
};

Memory& memory_of(thandle_t handle) { return *static_cast<Memory*>(handle); }

extern "C" {

static tmsize_t tiff_read(thandle_t handle, void* out, tmsize_t count) {
  Memory& memory = memory_of(handle);
  const std::size_t position = std::min<std::size_t>(memory.position, memory.file.size());
  const std::size_t taken = std::min(static_cast<std::size_t>(count), memory.file.size() - position);
  std::memcpy(out, memory.file.data() + position, taken);
  memory.position += taken;
  return static_cast<tmsize_t>(taken);
}

static tmsize_t tiff_write(thandle_t, void*, tmsize_t) { return -1; }

static toff_t tiff_seek(thandle_t handle, toff_t offset, int whence) {
  Memory& memory = memory_of(handle);
  if (whence == SEEK_SET) memory.position = offset;
  if (whence == SEEK_CUR) memory.position += offset;
  if (whence == SEEK_END) memory.position = memory.file.size() + offset;
  return memory.position;
}

static int tiff_close(thandle_t) { return 0; }
static toff_t tiff_size(thandle_t handle) { return memory_of(handle).file.size(); }

// The first complaint is the cause; later ones follow from it.
static int tiff_error(TIFF*, void* handle, const char*, const char* format, va_list arguments) {
  Memory& memory = memory_of(handle);
  if (memory.message[0] == '\0') std::vsnprintf(memory.message.data(), memory.message.size(), format, arguments);
  return 1;
}

static int tiff_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

}  // extern "C"

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};
using Tiff = std::unique_ptr<TIFF, Close>;

[[noreturn]] void fail_tiff(const Memory& memory, const std::string& name) {
  fail_data(name,
            ": damaged TIFF: ", memory.message[0] == '\0' ? "the data end early" : printable(memory.message.data()));
}

Tiff open(Memory& memory, const std::string& name) {
  const std::unique_ptr<TIFFOpenOptions, Close> options(TIFFOpenOptionsAlloc());
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMaxLibraryBytes);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), tiff_error, &memory);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), tiff_warning, &memory);
  // "m": no mapping, so libtiff works on copies of what it reads.
  Tiff tiff(TIFFClientOpenExt("", "rm", &memory, tiff_read, tiff_write, tiff_seek, tiff_close, tiff_size, nullptr,
                              nullptr, options.get()));
  if (!tiff) fail_tiff(memory, name);
  return tiff;
}

// ---- What the tags say

struct Layout {
  std::int64_t width = 0, height = 0;
  int samples = 1, bits = 1, format = SAMPLEFORMAT_UINT;
  int photometric = PHOTOMETRIC_MINISWHITE, compression = COMPRESSION_NONE, orientation = kUpright;
  bool separate = false;       // a plane for each sample
  bool premultiplied = false;  // by the sample behind the colour
  int extra = 0;               // samples behind the colour
};

Layout read_layout(TIFF* tiff, const std::string& name, const DecodeLimits& limits) {
  std::uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  check_image_size(width, height, name, limits);
  const auto tag = [tiff](std::uint32_t which, int absent) {
    std::uint16_t value = 0;
    return TIFFGetField(tiff, which, &value) == 1 ? int{value} : absent;
  };
  const auto default_tag = [tiff](std::uint32_t which) {
    std::uint16_t value = 0;
    TIFFGetFieldDefaulted(tiff, which, &value);
    return int{value};
  };
  Layout layout{.width = width, .height = height};
  layout.samples = default_tag(TIFFTAG_SAMPLESPERPIXEL);
  layout.bits = default_tag(TIFFTAG_BITSPERSAMPLE);
  layout.format = default_tag(TIFFTAG_SAMPLEFORMAT);
  layout.photometric = tag(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISWHITE);
  layout.compression = tag(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  layout.orientation = tag(TIFFTAG_ORIENTATION, kUpright);
  layout.separate = layout.samples > 1 && default_tag(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
  std::uint16_t extra = 0;
  const std::uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
  layout.extra = extra;
  layout.premultiplied = extra > 0 && kinds != nullptr && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  if (layout.samples < 1 || layout.samples > kMaxSamples) {
    fail_data(name, ": TIFF with ", layout.samples, " channels; 1 to ", kMaxSamples, " can be read");
  }
  return layout;
}

// Which samples are read, and what they mean together.
struct Plan {
  TiffColor color = TiffColor::kGray;
  std::vector<int> samples;
  std::vector<std::array<int, 3>> sheets =
      {};  // where among `samples` the channels of each sheet are; empty: one image
  bool inverted = false;
  bool premultiplied = false;
};

[[noreturn]] void refuse_layout(const Layout& layout, const std::string& name) {
  fail_data(
      name, ": TIFF with ", layout.samples, " channels of ", layout.bits, " bits (photometric ", layout.photometric,
      ", sample format ", layout.format, ", compression ", layout.compression,
      "); gray, palette, RGB and CMYK can be read, and any channels of 8 or 16 bits by data.bands, of other types with "
      "data.range");
}

Plan plan_gray(const Layout& layout, const std::string& name) {
  const bool deep = layout.bits > 8;
  const bool known = layout.bits == 1 || layout.bits == 2 || layout.bits == 4 || layout.bits == 8 ||
                     layout.bits == 16 || layout.bits == 32;
  const bool plain = layout.samples == 1 || (layout.bits == 8 && layout.extra == layout.samples - 1);
  const bool real = layout.format == SAMPLEFORMAT_IEEEFP;
  if (!known || !plain || layout.premultiplied || (real && layout.bits != 32)) refuse_layout(layout, name);
  if (layout.format != SAMPLEFORMAT_UINT && layout.format != SAMPLEFORMAT_INT && !real) refuse_layout(layout, name);
  // Pillow reads deep samples as they are whichever way the tag says.
  return {.color = TiffColor::kGray, .samples = {0}, .inverted = layout.photometric == PHOTOMETRIC_MINISWHITE && !deep};
}

Plan plan_colors(const Layout& layout, const std::string& name) {
  const bool cmyk = layout.photometric == PHOTOMETRIC_SEPARATED;
  const int colors = cmyk ? 4 : 3;
  const bool known = (layout.bits == 8 || layout.bits == 16) && layout.format == SAMPLEFORMAT_UINT;
  Plan plan{.color = cmyk ? TiffColor::kCmyk : TiffColor::kRgb, .samples = {0, 1, 2}};
  plan.premultiplied = !cmyk && layout.premultiplied;
  const int least = colors + (plan.premultiplied ? 1 : 0);
  if (!known || layout.samples < least || layout.samples > 6) refuse_layout(layout, name);
  if (cmyk || plan.premultiplied) plan.samples.push_back(3);
  return plan;
}

// Each sample is read once, however many sheets have it.
Plan plan_channels(const Layout& layout, const std::string& name, const DecodeOptions& options) {
  const bool counts = layout.format == SAMPLEFORMAT_UINT, real = layout.format == SAMPLEFORMAT_IEEEFP;
  const bool plain = counts && (layout.bits == 8 || layout.bits == 16);
  const bool whole = counts || layout.format == SAMPLEFORMAT_INT;
  const bool ranged = (whole && (layout.bits == 8 || layout.bits == 16)) || ((whole || real) && layout.bits == 32);
  if (!(options.range ? ranged : plain)) refuse_layout(layout, name);
  Plan plan{.color = TiffColor::kRgb, .samples = {}};
  for (std::array<int, 3> sheet : choose_channels(options, layout.samples, name)) {
    for (int& channel : sheet) {
      auto found = std::find(plan.samples.begin(), plan.samples.end(), channel);
      if (found == plan.samples.end()) found = plan.samples.insert(found, channel);
      channel = static_cast<int>(found - plan.samples.begin());
    }
    plan.sheets.push_back(sheet);
  }
  return plan;
}

Plan make_plan(const Layout& layout, const std::string& name, const DecodeOptions& options) {
  if (layout.compression == COMPRESSION_OJPEG) refuse_layout(layout, name);
  if (!options.bands.empty() || !options.spectrum.empty()) return plan_channels(layout, name, options);
  switch (layout.photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
      return plan_gray(layout, name);
    case PHOTOMETRIC_PALETTE:
      if (layout.bits > 8 || !std::has_single_bit(static_cast<unsigned>(layout.bits)) || layout.samples > 2 ||
          (layout.samples == 2 && layout.bits != 8)) {
        refuse_layout(layout, name);
      }
      return {.color = TiffColor::kPalette, .samples = {0}};
    case PHOTOMETRIC_YCBCR:  // libjpeg converts; other codecs are read as nothing else reads them
      if (layout.compression != COMPRESSION_JPEG || layout.separate || layout.samples != 3) refuse_layout(layout, name);
      return {.color = TiffColor::kRgb, .samples = {0, 1, 2}};
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_SEPARATED:
      return plan_colors(layout, name);
    default:
      refuse_layout(layout, name);
  }
}

TiffRowFormat row_format(TIFF* tiff, const Layout& layout, const Plan& plan, const DecodeOptions& options,
                         const std::string& name) {
  TiffRowFormat format{.color = plan.color,
                       .bits = layout.bits,
                       .inverted = plan.inverted,
                       .premultiplied = plan.premultiplied,
                       .high_byte = plan.color != TiffColor::kGray || options.scale_gray16};
  if (!plan.sheets.empty()) format.range = options.range;
  if (layout.format == SAMPLEFORMAT_INT) format.sample = TiffSample::kSigned;
  if (layout.format == SAMPLEFORMAT_IEEEFP) format.sample = TiffSample::kFloat;
  if (plan.color != TiffColor::kPalette) return format;
  std::array<const std::uint16_t*, 3> maps{};
  if (TIFFGetField(tiff, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]) != 1) {
    fail_data(name, ": damaged TIFF: a palette image without its palette");
  }
  for (std::size_t i = 0; i < std::size_t{1} << layout.bits; ++i) {
    for (std::size_t c = 0; c < 3; ++c) format.palette[i][c] = static_cast<std::uint8_t>(maps[c][i] >> 8);
  }
  return format;
}

// ---- Strips and tiles

struct Grid {
  bool tiled = false;
  std::int64_t width = 0, height = 0;  // of a block
  std::int64_t across = 0, down = 0;   // blocks
  std::int64_t row_bytes = 0, block_bytes = 0;
};

// How much one byte can become; 0 for codecs without a bound.
std::int64_t max_inflation(int compression) {
  switch (compression) {
    case COMPRESSION_NONE:
      return 1;
    case COMPRESSION_PACKBITS:
      return 64;
    case COMPRESSION_LZW:
      return 2731;
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
      return 1032;
    default:
      return 0;
  }
}

Grid read_grid(TIFF* tiff, const Layout& layout, Bytes file, const std::string& name) {
  Grid grid;
  grid.tiled = TIFFIsTiled(tiff) != 0;
  std::uint32_t width = 0, height = 0;
  if (grid.tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &height);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &height);
    width = static_cast<std::uint32_t>(layout.width);
    height = static_cast<std::uint32_t>(std::min<std::int64_t>(height, layout.height));
  }
  if (width == 0 || height == 0) fail_data(name, ": damaged TIFF: blocks of ", width, " x ", height, " pixels");
  grid.width = width, grid.height = height;
  grid.across = (layout.width + width - 1) / width;
  grid.down = (layout.height + height - 1) / height;
  grid.row_bytes = static_cast<std::int64_t>(grid.tiled ? TIFFTileRowSize64(tiff) : TIFFScanlineSize64(tiff));
  const int stored = layout.separate ? 1 : layout.samples;
  const std::int64_t needed = (grid.width * layout.bits * stored + 7) / 8;
  const std::int64_t planes = layout.separate ? layout.samples : 1;
  if (grid.row_bytes < needed || grid.row_bytes > kMaxBlockBytes / planes / grid.height) {
    fail_data(name, ": damaged TIFF: blocks of ", width, " x ", height, " pixels, more than can be read");
  }
  grid.block_bytes = grid.row_bytes * grid.height;
  const std::int64_t inflation = max_inflation(layout.compression);
  const std::int64_t whole = (layout.width * layout.bits * stored + 7) / 8 * layout.height * planes;
  if (inflation > 0 && whole / inflation > static_cast<std::int64_t>(file.size())) {
    fail_data(name, ": damaged TIFF: ", file.size(), " bytes cannot hold ", layout.width, " x ", layout.height,
              " pixels");
  }
  return grid;
}

// False when the block is damaged, short of `bytes` or not there: libtiff would read one without a place from the start
// of the file.
bool read_block(TIFF* tiff, const Grid& grid, std::int64_t index, std::uint8_t* out, std::int64_t bytes) {
  const auto number = static_cast<std::uint32_t>(index);
  if (TIFFGetStrileOffset(tiff, number) == 0 || TIFFGetStrileByteCount(tiff, number) == 0) return false;
  if (grid.tiled) return TIFFReadEncodedTile(tiff, number, out, bytes) >= bytes;
  return TIFFReadEncodedStrip(tiff, number, out, bytes) >= bytes;
}

class Page {
 public:
  Page(TIFF* tiff, const Layout& layout, const Grid& grid, const Plan& plan)
      : tiff_(tiff), layout_(layout), grid_(grid), plan_(plan) {
    const std::size_t planes = layout.separate ? plan.samples.size() : 1;
    // Not cleared: pages that a damaged file never fills cost nothing.
    for (std::size_t p = 0; p < planes; ++p) {
      planes_.emplace_back(new std::uint8_t[static_cast<std::size_t>(grid.block_bytes)]);
    }
  }

  bool decode_block(std::int64_t column, std::int64_t row, TiffRowPainter& painter, Sheets& sheets) {
    const std::int64_t top = row * grid_.height, left = column * grid_.width;
    const std::int64_t rows = std::min(grid_.height, layout_.height - top);
    const std::int64_t bytes = grid_.tiled ? grid_.block_bytes : rows * grid_.row_bytes;
    for (std::size_t p = 0; p < planes_.size(); ++p) {
      const std::int64_t plane = layout_.separate ? plan_.samples[p] : 0;
      const std::int64_t index = (plane * grid_.down + row) * grid_.across + column;
      if (!read_block(tiff_, grid_, index, planes_[p].get(), bytes)) return false;
    }
    const int count = static_cast<int>(std::min(grid_.width, layout_.width - left));
    const int sample_bytes = std::max(layout_.bits / 8, 1);
    std::vector<const std::uint8_t*> starts(plan_.samples.size());
    const int step = layout_.separate ? sample_bytes : sample_bytes * layout_.samples;
    for (std::int64_t y = 0; y < rows; ++y) {
      for (std::size_t s = 0; s < starts.size(); ++s) {
        const std::int64_t offset = layout_.separate ? 0 : std::int64_t{plan_.samples[s]} * sample_bytes;
        starts[s] = planes_[layout_.separate ? s : 0].get() + y * grid_.row_bytes + offset;
      }
      for (std::size_t sheet = 0; sheet < sheets.size(); ++sheet) {
        std::uint8_t* rgb = sheets[sheet].row(static_cast<int>(top + y)) + 3 * left;
        if (plan_.sheets.empty()) {
          painter.paint(starts, step, count, rgb);
          continue;
        }
        const auto start = [&](std::size_t c) { return starts[static_cast<std::size_t>(plan_.sheets[sheet][c])]; };
        painter.paint(std::array{start(0), start(1), start(2)}, step, count, rgb);
      }
    }
    return true;
  }

 private:
  TIFF* tiff_;
  const Layout& layout_;
  const Grid& grid_;
  const Plan& plan_;
  std::vector<std::unique_ptr<std::uint8_t[]>> planes_;
};

}  // namespace

Sheets decode_tiff(Bytes bytes, const std::string& name, const DecodeLimits& limits, const DecodeOptions& options) {
  Memory memory{bytes};
  const Tiff tiff = open(memory, name);
  const Layout layout = read_layout(tiff.get(), name, limits);
  const Plan plan = make_plan(layout, name, options);
  if (layout.compression == COMPRESSION_JPEG && layout.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  }
  const Grid grid = read_grid(tiff.get(), layout, bytes, name);
  Page page(tiff.get(), layout, grid, plan);
  TiffRowPainter painter(row_format(tiff.get(), layout, plan, options, name));
  const std::size_t count = std::max<std::size_t>(plan.sheets.size(), 1);
  check_image_size(layout.width, layout.height, name, limits, count);
  Sheets sheets;
  for (std::size_t i = 0; i < count; ++i)
    sheets.emplace_back(static_cast<int>(layout.width), static_cast<int>(layout.height));
  for (std::int64_t row = 0; row < grid.down; ++row) {
    for (std::int64_t column = 0; column < grid.across; ++column) {
      if (!page.decode_block(column, row, painter, sheets)) fail_tiff(memory, name);
    }
  }
  for (Image& sheet : sheets) sheet = upright(std::move(sheet), layout.orientation);
  return sheets;
}

}  // namespace lacuna
