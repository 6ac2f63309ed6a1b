// GIF through giflib: the first frame on the canvas, as Pillow opens a file. Its palette's colours are used as they
// are; transparency only decides which of them fills the canvas around a smaller frame.

#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "io/image/decoders.h"

namespace lacuna {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::int64_t kMaxInflation = 2731;  // of LZW: 4096 pixels out of a code of 12 bits
constexpr int kGraphicsControl = 0xF9;

struct Reader {
  Bytes file;
  std::size_t position = 0;
};

// A file may end without the empty block that closes the image data: everything of the picture is there.
int read(GifFileType* gif, GifByteType* out, int count) {
  Reader& reader = *static_cast<Reader*>(gif->UserData);
  const std::size_t left = reader.file.size() - reader.position;
  if (left == 0 && count == 1) {
    *out = 0;
    return 1;
  }
  const std::size_t taken = std::min(left, static_cast<std::size_t>(count));
  std::memcpy(out, reader.file.data() + reader.position, taken);
  reader.position += taken;
  return static_cast<int>(taken);
}

struct Close {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, Close>;

const char* reason(int code) {
  const char* text = GifErrorString(code);
  return text != nullptr ? text : "the data end early";
}

void require(bool done, const Gif& gif, const std::string& name) {
  if (!done) fail_data(name, ": damaged GIF: ", reason(gif->Error));
}

// Reads one extension; a graphics control one says which index is transparent.
void read_extension(const Gif& gif, const std::string& name, std::optional<int>& transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  require(DGifGetExtension(gif.get(), &code, &block) == GIF_OK, gif, name);
  if (code == kGraphicsControl && block != nullptr && block[0] >= 4) {
    transparent = (block[1] & 1) != 0 ? std::optional<int>(block[4]) : std::nullopt;
  }
  while (block != nullptr) require(DGifGetExtensionNext(gif.get(), &block) == GIF_OK, gif, name);
}

// Reads up to the first frame's description; returns the transparent index if there is one.
std::optional<int> find_frame(const Gif& gif, const Reader& reader, const std::string& name) {
  std::optional<int> transparent;
  for (;;) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (reader.position == reader.file.size()) fail_data(name, ": damaged GIF: the file ends before the first frame");
    require(DGifGetRecordType(gif.get(), &type) == GIF_OK, gif, name);
    if (type == IMAGE_DESC_RECORD_TYPE) break;
    if (type != EXTENSION_RECORD_TYPE) fail_data(name, ": damaged GIF: no frame");
    read_extension(gif, name, transparent);
  }
  require(DGifGetImageDesc(gif.get()) == GIF_OK, gif, name);
  return transparent;
}

using Palette = std::array<std::uint8_t, 768>;

// Indices are gray levels where the file has no palette, or one that says just that.
Palette palette_of(const Gif& gif) {
  const ColorMapObject* map = gif->Image.ColorMap != nullptr ? gif->Image.ColorMap : gif->SColorMap;
  Palette palette{};
  bool plain = true;
  for (int i = 0; map != nullptr && i < map->ColorCount && i < 256; ++i) {
    const GifColorType& color = map->Colors[i];
    plain = plain && color.Red == i && color.Green == i && color.Blue == i;
    std::uint8_t* rgb = &palette[static_cast<std::size_t>(i) * 3];
    rgb[0] = color.Red, rgb[1] = color.Green, rgb[2] = color.Blue;
  }
  for (std::size_t i = 0; plain && i < palette.size(); ++i) palette[i] = static_cast<std::uint8_t>(i / 3);
  return palette;
}

void paint(std::uint8_t* rgb, Bytes indices, const Palette& palette) {
  for (const std::uint8_t index : indices) {
    std::memcpy(rgb, &palette[static_cast<std::size_t>(index) * 3], 3);
    rgb += 3;
  }
}

// Rows of an interlaced frame come in four passes.
std::vector<int> row_order(int height, bool interlaced) {
  struct Pass {
    int first, step;
  };
  static constexpr std::array kPasses = {Pass{0, 8}, Pass{4, 8}, Pass{2, 4}, Pass{1, 2}};
  static constexpr std::array kOnePass = {Pass{0, 1}};
  std::vector<int> rows;
  rows.reserve(static_cast<std::size_t>(height));
  for (const Pass& pass : interlaced ? std::span<const Pass>(kPasses) : std::span<const Pass>(kOnePass)) {
    for (int y = pass.first; y < height; y += pass.step) rows.push_back(y);
  }
  return rows;
}

}  // namespace

Image decode_gif(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  Reader reader{bytes};
  int status = 0;
  const Gif gif(DGifOpen(&reader, read, &status));
  if (!gif) fail_data(name, ": damaged GIF: ", reason(status));
  const std::optional<int> transparent = find_frame(gif, reader, name);

  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0) fail_data(name, ": damaged GIF: the first frame is empty");
  // A frame that reaches out of the canvas widens it.
  const int width = std::max(gif->SWidth, frame.Left + frame.Width);
  const int height = std::max(gif->SHeight, frame.Top + frame.Height);
  check_image_size(width, height, name, limits);
  if (std::int64_t{frame.Width} * frame.Height > static_cast<std::int64_t>(bytes.size()) * kMaxInflation) {
    fail_data(name, ": damaged GIF: ", bytes.size(), " bytes cannot hold ", frame.Width, " x ", frame.Height,
              " pixels");
  }

  const Palette palette = palette_of(gif);
  Image image(width, height);
  const std::vector<std::uint8_t> empty(static_cast<std::size_t>(width),
                                        static_cast<std::uint8_t>(transparent.value_or(0)));
  for (int y = 0; y < height; ++y) paint(image.row(y), empty, palette);
  std::vector<std::uint8_t> line(static_cast<std::size_t>(frame.Width));
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    require(DGifGetLine(gif.get(), line.data(), frame.Width) == GIF_OK, gif, name);
    paint(image.row(frame.Top + y) + std::ptrdiff_t{3} * frame.Left, line, palette);
  }
  return image;
}

}  // namespace lacuna
