#pragma once
// From a sample's bytes to the pixels that are wanted of it, with buffers that are kept from sample to sample.
//
// The size is known before the pixels are decoded, so that a crop can be drawn first and the decoder told what is
// needed. JPEG and lossy WebP make use of that (jpeg.h, webp.h); other formats, and images that are to be turned or to
// change their channels, are decoded whole when opened. Once the buffers have grown to the largest sample, a JPEG costs
// no allocation. For one thread at a time.

#include <string>
#include <vector>

#include "io/image/image.h"
#include "io/image/image_view.h"
#include "io/image/jpeg.h"
#include "io/image/webp.h"

namespace lacuna {

class ImageReader {
 public:
  // What a source fills before open(): the encoded file, and the name that messages call it by.
  std::string name;
  std::vector<std::uint8_t> bytes;

  // Forgets the sample at hand. Buffers stay, but for what one of unusual size has grown beyond 64 MB.
  void begin();

  // Reads the header of `bytes`. Throws Error(kBadData) as decode_image does.
  void open(const DecodeLimits& limits = {}, const DecodeOptions& options = {});

  // Reads the file `name` into `bytes`, then opens it. A file that cannot be read is Error(kBadData) too.
  void open_file(const DecodeLimits& limits = {}, const DecodeOptions& options = {});

  // Takes an image that is decoded already.
  void hold(Sheets sheets);

  // Likewise, where `bytes` are the pixels of so many sheets, one behind the other.
  void hold_bytes(int width, int height, int sheets);

  int width() const { return size_.width; }
  int height() const { return size_.height; }

  // Sheets before the one in red, green and blue.
  int spectrum_sheets() const { return decoded_ ? static_cast<int>(whole_.size()) - 1 : 0; }

  // The pixels of a box inside width() x height() in red, green and blue, valid until the next call. Decodes no more
  // than it must, so only one box can be had of an image.
  ImageView read(const Box& box);

  // A whole sheet of the spectrum.
  const ImageView& spectrum_sheet(int sheet) const { return whole_.at(static_cast<std::size_t>(sheet)); }

  // By how much a JPEG may be reduced so that a box keeps 1.5 x `side` pixels each way: 1, 2, 4 or 8. 1 for other
  // formats.
  int reduction_for(const Box& box, int side) const;

  // The same box of the image reduced by that much, with the pixels that it covers in part (JpegReader::read).
  ImageView read_reduced(const Box& box, int reduction);

 private:
  JpegReader jpeg_;
  WebpReader webp_;
  bool is_webp_ = false;  // what has not been decoded
  Image image_;           // what their decoders make
  Sheets sheets_;
  ImageSize size_;
  bool decoded_ = false;          // whole_ has all pixels
  std::vector<ImageView> whole_;  // of sheets_ or of bytes
};

}  // namespace lacuna
