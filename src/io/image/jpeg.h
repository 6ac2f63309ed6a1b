#pragma once
// JPEG through libjpeg-turbo with its defaults (accurate integer DCT, fancy upsampling), which is what Pillow uses.
//
// A part of an image costs less than the whole: rows above it are only entropy decoded, columns beside it skip the
// inverse DCT, rows below it are not looked at. Its bytes are those of the whole image there, by a margin for the
// upsampling of colour. Where libjpeg-turbo does not promise that (progressive and arithmetic coding, several scans,
// CMYK, unusual sampling) the whole image is decoded.
//
// Whether a file is accepted does not depend on the part. In one sequential scan nothing but the end of the data before
// the last row makes libjpeg give up, and an end marker (FF D9) anywhere behind the rows that were read stops it from
// reading further, so a file that has one is accepted by both. One that has none, a truncated file, is decoded to its
// last row.

#include <memory>
#include <span>
#include <string>

#include "io/image/image.h"
#include "io/image/image_view.h"

namespace lacuna {

struct ImageSize {
  int width = 0, height = 0;
};

// A decoder whose memory is kept from image to image. For one thread at a time.
class JpegReader {
 public:
  JpegReader();
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Reads the header; `bytes` must stay until the pixels are read. Throws Error(kBadData) whose text starts with
  // `name`.
  ImageSize open(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

  // The pixels of a box, which must lie inside the image. They are put into `image`, which grows as it must and may
  // hold more than the box. Once for each open.
  //
  // `reduction` 2, 4 or 8 decodes an image of that fraction of the size (rounded up) by a smaller inverse DCT, and the
  // box counts its pixels: faster, and not what decoding and resizing gives.
  ImageView read(const Box& box, Image& image, int reduction = 1);

 private:
  std::unique_ptr<struct JpegSession> session_;
};

}  // namespace lacuna
