#pragma once
// JPEG files made on the spot.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <vector>

#include "base/rng.h"

// After <cstdio>, which it needs.
#include <jpeglib.h>

namespace lacuna::testing {

struct Make {
  int width = 64, height = 48, components = 3;
  int luma_width = 2, luma_height = 2;  // sampling factors
  int restart = 0;                      // MCUs between restart markers
  bool progressive = false, arithmetic = false;
};

// Smooth in places and noisy in others, so that blocks differ.
inline std::uint8_t texture(int x, int y, int c, Rng& rng) {
  const bool noisy = (x / 16 + y / 16) % 3 == 0;
  return static_cast<std::uint8_t>(noisy ? rng.integer(0, 255) : (3 * x + 2 * y + 60 * c) % 256);
}

inline std::vector<std::uint8_t> encoded(const Make& make, Rng& rng) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(make.width);
  info.image_height = static_cast<JDIMENSION>(make.height);
  info.input_components = make.components;
  info.in_color_space = make.components == 1 ? JCS_GRAYSCALE : make.components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  info.comp_info[0].h_samp_factor = make.luma_width;
  info.comp_info[0].v_samp_factor = make.luma_height;
  info.restart_interval = static_cast<unsigned>(make.restart);
  info.arith_code = make.arithmetic ? TRUE : FALSE;
  if (make.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(make.width * make.components));
  while (info.next_scanline < info.image_height) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const int x = static_cast<int>(i) / make.components, c = static_cast<int>(i) % make.components;
      row[i] = texture(x, static_cast<int>(info.next_scanline), c, rng);
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  std::vector<std::uint8_t> bytes(memory, memory + size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return bytes;
}

inline std::ostream& operator<<(std::ostream& out, const Make& m) {
  return out << m.width << " x " << m.height << ", " << m.components << " components, luma " << m.luma_width << " x "
             << m.luma_height << ", restart " << m.restart << (m.progressive ? ", progressive" : "")
             << (m.arithmetic ? ", arithmetic" : "");
}

}  // namespace lacuna::testing
