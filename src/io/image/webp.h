#pragma once
// Parts of lossy WebP images, through libwebp.
//
// Rows above the part and columns beside it are not turned into colours. All rows are parsed, those below the part too:
// libwebp could stop at its last row, but a damaged file is told from a whole one by data that end too early, mostly in
// the last rows, and whether a file is accepted must not depend on the part.

#include <span>
#include <string>

#include "io/image/image.h"
#include "io/image/image_view.h"
#include "io/image/jpeg.h"

namespace lacuna {

class WebpReader {
 public:
  // Reads the header; `bytes` must stay until the pixels are read. False for what is decoded whole (decode_webp):
  // lossless images, those with alpha, animations. Throws Error(kBadData) as decode_webp does.
  bool open(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

  ImageSize size() const { return size_; }

  // The pixels of a box, which must lie inside the image: those of the whole image there. They are put into `image`,
  // which grows as it must and may hold more than the box.
  ImageView read(const Box& box, Image& image) const;

 private:
  std::span<const std::uint8_t> bytes_;
  std::string name_;
  ImageSize size_;
};

}  // namespace lacuna
