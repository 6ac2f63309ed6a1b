#include "io/image/png_writer.h"

#include <spng.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

void require(int status) { invariant(status == SPNG_OK, "encoding a PNG: ", spng_strerror(status)); }

}  // namespace

std::vector<std::uint8_t> encode_png(const Image& image) {
  invariant(image.width > 0 && image.height > 0, "encoding an empty image as PNG");
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  invariant(context != nullptr, "encoding a PNG: out of memory");
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(image.width);
  header.height = static_cast<std::uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  require(spng_set_ihdr(context.get(), &header));
  require(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  require(
      spng_encode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE));
  std::size_t size = 0;
  int status = SPNG_OK;
  const std::unique_ptr<void, decltype(&std::free)> buffer(spng_get_png_buffer(context.get(), &size, &status),
                                                           std::free);
  require(status);
  const auto* bytes = static_cast<const std::uint8_t*>(buffer.get());
  return {bytes, bytes + size};
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<std::uint8_t> bytes = encode_png(image);
  write_file_atomic(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace lacuna
