#include "io/image/jpeg_writer.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h uses FILE without including it
#include <cstdlib>

#include "base/error.h"

extern "C" {
#include <jpeglib.h>
}

namespace lacuna {
namespace {

// libjpeg's own handler of errors would end the process; ours jumps back into `compress`.
struct Compressor {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  jmp_buf escape{};
  char message[JMSG_LENGTH_MAX] = {};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  Compressor() = default;
  ~Compressor() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto& jpeg = *static_cast<Compressor*>(info->client_data);
  info->err->format_message(info, jpeg.message);
  longjmp(jpeg.escape, 1);
}

// False where libjpeg gave up. No object here has a destructor that a jump would skip.
bool compress(Compressor& jpeg, const Image& image, int quality) {
  jpeg.info.err = jpeg_std_error(&jpeg.errors);
  jpeg.errors.error_exit = on_error;
  jpeg.info.client_data = &jpeg;
  if (setjmp(jpeg.escape) != 0) return false;
  jpeg_create_compress(&jpeg.info);
  jpeg_mem_dest(&jpeg.info, &jpeg.bytes, &jpeg.size);
  jpeg.info.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.info.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.info.input_components = 3;
  jpeg.info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg.info);
  jpeg_set_quality(&jpeg.info, quality, TRUE);
  jpeg.info.optimize_coding = TRUE;
  jpeg_start_compress(&jpeg.info, TRUE);
  while (jpeg.info.next_scanline < jpeg.info.image_height) {
    auto* row = const_cast<JSAMPROW>(image.row(static_cast<int>(jpeg.info.next_scanline)));  // libjpeg only reads
    jpeg_write_scanlines(&jpeg.info, &row, 1);
  }
  jpeg_finish_compress(&jpeg.info);
  return true;
}

}  // namespace

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
  check(image.width > 0 && image.height > 0 && image.width <= JPEG_MAX_DIMENSION && image.height <= JPEG_MAX_DIMENSION,
        "an image of ", image.width, " x ", image.height, " pixels cannot be written as JPEG");
  Compressor jpeg;
  if (!compress(jpeg, image, quality)) fail("an image could not be written as JPEG: ", jpeg.message);
  return {jpeg.bytes, jpeg.bytes + jpeg.size};
}

}  // namespace lacuna
