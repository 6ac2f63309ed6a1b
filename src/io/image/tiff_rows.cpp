#include "io/image/tiff_rows.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "io/image/decoders.h"

namespace lacuna {
namespace {

template <class T>
T value_at(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Truncated; no number is 0.
std::uint8_t clamped(double value) {
  return value > 0.0 ? static_cast<std::uint8_t>(std::min(value, 255.0)) : std::uint8_t{0};
}

// a * b / 255 as Pillow rounds it.
int scaled_product(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

void divide(std::uint8_t* rgb, int alpha) {
  if (alpha == 255) return;
  for (int c = 0; c < 3; ++c) {
    rgb[c] = alpha == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(std::min(255 * rgb[c] / alpha, 255));
  }
}

}  // namespace

void TiffRowPainter::paint(std::span<const std::uint8_t* const> rows, int step, int count, std::uint8_t* rgb) {
  const auto stride = static_cast<std::size_t>(count);
  levels_.resize(stride * rows.size());
  for (std::size_t s = 0; s < rows.size(); ++s) read_levels(rows[s], step, count, &levels_[s * stride]);
  for (std::size_t x = 0; x < stride; ++x, rgb += 3) paint_pixel(&levels_[x], stride, rgb);
}

// Fewer than 8 bits: gray is spread over the range, indices are not.
void TiffRowPainter::read_levels(const std::uint8_t* row, int step, int count, std::uint8_t* levels) const {
  if (format_.bits >= 8) {
    for (int x = 0; x < count; ++x, row += step) levels[x] = level_of(row);
    return;
  }
  const int per_byte = 8 / format_.bits, top = (1 << format_.bits) - 1;
  const int spread = format_.color == TiffColor::kGray ? 255 / top : 1;
  for (int x = 0; x < count; ++x) {
    const int shift = 8 - format_.bits * (x % per_byte + 1);
    levels[x] = static_cast<std::uint8_t>(((row[x / per_byte] >> shift) & top) * spread);
  }
}

double TiffRowPainter::value_of(const std::uint8_t* p) const {
  const bool is_signed = format_.sample == TiffSample::kSigned;
  if (format_.sample == TiffSample::kFloat) return static_cast<double>(value_at<float>(p));
  if (format_.bits == 8) return is_signed ? value_at<std::int8_t>(p) : value_at<std::uint8_t>(p);
  if (format_.bits == 16) return is_signed ? value_at<std::int16_t>(p) : value_at<std::uint16_t>(p);
  if (is_signed) return value_at<std::int32_t>(p);
  return value_at<std::uint32_t>(p);
}

std::uint8_t TiffRowPainter::level_of(const std::uint8_t* p) const {
  if (format_.range) return level_in_range(value_of(p), *format_.range);
  const bool is_signed = format_.sample == TiffSample::kSigned;
  if (format_.bits == 8) return *p;
  if (format_.bits == 16) {
    if (is_signed) return clamped(value_at<std::int16_t>(p));
    const int value = value_at<std::uint16_t>(p);
    return format_.high_byte ? static_cast<std::uint8_t>(value >> 8) : clamped(value);
  }
  if (format_.sample == TiffSample::kFloat) return clamped(static_cast<double>(value_at<float>(p)));
  return is_signed ? clamped(value_at<std::int32_t>(p)) : clamped(value_at<std::uint32_t>(p));
}

void TiffRowPainter::paint_pixel(const std::uint8_t* level, std::size_t stride, std::uint8_t* rgb) const {
  switch (format_.color) {
    case TiffColor::kGray:
      std::fill_n(rgb, 3, static_cast<std::uint8_t>(format_.inverted ? 255 - *level : *level));
      break;
    case TiffColor::kPalette:
      std::copy_n(format_.palette[*level].begin(), 3, rgb);
      break;
    case TiffColor::kRgb:
      for (std::size_t c = 0; c < 3; ++c) rgb[c] = level[c * stride];
      if (format_.premultiplied) divide(rgb, level[3 * stride]);
      break;
    case TiffColor::kCmyk:
      for (std::size_t c = 0; c < 3; ++c) {
        const int white = 255 - level[3 * stride];
        rgb[c] = static_cast<std::uint8_t>(white - scaled_product(level[c * stride], white));
      }
      break;
  }
}

}  // namespace lacuna
