#include "io/image/image_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/image/exif.h"
#include "io/positioned_file.h"

namespace lacuna {
namespace {

constexpr std::size_t kKept = std::size_t{64} << 20;  // what one buffer may keep after an unusual sample

// A buffer that an enormous sample has grown does not stay for the whole run.
void give_back_excess(std::vector<std::uint8_t>& buffer) {
  if (buffer.capacity() > kKept) std::vector<std::uint8_t>().swap(buffer);
}

bool is_jpeg(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

bool is_webp(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 &&
         std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

}  // namespace

void ImageReader::begin() {
  name.clear();
  give_back_excess(bytes);
  give_back_excess(image_.pixels);
  sheets_.clear();
}

void ImageReader::open(const DecodeLimits& limits, const DecodeOptions& options) {
  const bool turned = options.orient && exif_orientation(bytes) != kUpright;
  const bool plain = !turned && options.bands.empty() && options.spectrum.empty() && !options.range;
  is_webp_ = plain && is_webp(bytes) && webp_.open(bytes, name, limits);
  if (!plain || !(is_webp_ || is_jpeg(bytes))) return hold(decode_sheets(bytes, name, limits, options));
  decoded_ = false;
  size_ = is_webp_ ? webp_.size() : jpeg_.open(bytes, name, limits);
}

void ImageReader::open_file(const DecodeLimits& limits, const DecodeOptions& options) {
  read_whole_file(name, static_cast<std::uint64_t>(limits.max_file_bytes), bytes);
  open(limits, options);
}

void ImageReader::hold(Sheets sheets) {
  sheets_ = std::move(sheets);
  whole_.assign(sheets_.begin(), sheets_.end());
  size_ = {sheets_[0].width, sheets_[0].height};
  decoded_ = true;
}

void ImageReader::hold_bytes(int width, int height, int sheets) {
  const std::size_t stride = static_cast<std::size_t>(width) * 3, sheet = stride * static_cast<std::size_t>(height);
  invariant(bytes.size() == sheet * static_cast<std::size_t>(sheets), "ImageReader: ", bytes.size(), " bytes for ",
            sheets, " sheets of ", width, " x ", height, " pixels");
  whole_.clear();
  for (std::size_t at = 0; at < bytes.size(); at += sheet) whole_.emplace_back(&bytes[at], stride, width, height);
  size_ = {width, height};
  decoded_ = true;
}

int ImageReader::reduction_for(const Box& box, int side) const {
  int reduction = 1;
  while (!decoded_ && !is_webp_ && reduction < 8 && std::min(box.width, box.height) >= 3 * reduction * side)
    reduction *= 2;
  return reduction;
}

ImageView ImageReader::read_reduced(const Box& box, int reduction) {
  return reduction == 1 ? read(box) : jpeg_.read(reduced(box, reduction), image_, reduction);
}

ImageView ImageReader::read(const Box& box) {
  if (!decoded_) return is_webp_ ? webp_.read(box, image_) : jpeg_.read(box, image_);
  invariant(holds(size_.width, size_.height, box), "ImageReader: a box outside ", name);
  return whole_.back().part(box);
}

}  // namespace lacuna
