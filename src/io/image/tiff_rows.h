#pragma once
// What rows of decoded TIFF samples become: 8-bit levels, and RGB of these, by Pillow's rules. For tiff.cpp alone.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lacuna {

enum class TiffColor { kGray, kPalette, kRgb, kCmyk };
enum class TiffSample { kUnsigned, kSigned, kFloat };

struct TiffRowFormat {
  TiffColor color = TiffColor::kGray;
  TiffSample sample = TiffSample::kUnsigned;
  int bits = 8;                                // 1, 2, 4, 8, 16 or 32; float has 32
  bool inverted = false;                       // gray only
  bool premultiplied = false;                  // RGB followed by the alpha that it was multiplied with
  bool high_byte = false;                      // what 16 bits keep, instead of being clamped
  std::optional<std::array<double, 2>> range;  // the values that become 0 and 255, instead
  std::array<std::array<std::uint8_t, 3>, 256> palette{};
};

class TiffRowPainter {
 public:
  explicit TiffRowPainter(const TiffRowFormat& format) : format_(format) {}

  // `rows`: one for each sample that the colour needs, with its first value; `step` bytes from value to value. Samples
  // of fewer than 8 bits are packed and stand alone.
  void paint(std::span<const std::uint8_t* const> rows, int step, int count, std::uint8_t* rgb);

 private:
  void read_levels(const std::uint8_t* row, int step, int count, std::uint8_t* levels) const;
  std::uint8_t level_of(const std::uint8_t* p) const;
  double value_of(const std::uint8_t* p) const;
  void paint_pixel(const std::uint8_t* level, std::size_t stride, std::uint8_t* rgb) const;

  TiffRowFormat format_;
  std::vector<std::uint8_t> levels_;
};

}  // namespace lacuna
