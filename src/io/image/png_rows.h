#pragma once
// Where the rows of a PNG image lie in its inflated data, and what they were before they were filtered (the PNG
// specification, sections 8 and 9). Which colours the bytes stand for is not asked here.

#include <array>
#include <cstddef>
#include <cstdint>

namespace lacuna {

// Rows of one width that follow each other: the image, or one of the seven passes of an interlaced one.
struct PngPass {
  std::size_t rows = 0;
  std::size_t row_bytes = 0;  // without the byte before each row that names its filter
};

class PngRows {
 public:
  // Of a width and height that limits have bounded.
  PngRows(std::uint32_t width, std::uint32_t height, unsigned bits_per_pixel, bool interlaced);

  std::size_t bytes() const { return bytes_; }  // with the bytes that name filters

  // Undoes the filters of `data`, bytes() long, in place, and names filter 0 for each row. False at a filter that there
  // is none of; some rows have changed then.
  bool unfilter(std::uint8_t* data) const;

 private:
  std::array<PngPass, 7> passes_{};  // those without a pixel have no rows
  std::size_t bytes_ = 0;
  std::size_t step_;  // from a byte to the one that a filter takes for its left neighbour
};

}  // namespace lacuna
