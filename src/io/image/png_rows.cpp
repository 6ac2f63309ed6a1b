#include "io/image/png_rows.h"

#include <cstdlib>
#include <vector>

namespace lacuna {
namespace {

enum Filter : std::uint8_t { kNone, kSub, kUp, kAverage, kPaeth };

struct Row {
  std::uint8_t* bytes;
  const std::uint8_t* above;
  std::size_t size;
};

void undo_up(const Row& row) {
  for (std::size_t i = 0; i < row.size; ++i) row.bytes[i] = static_cast<std::uint8_t>(row.bytes[i] + row.above[i]);
}

// The others take `step` pixel bytes at a time, whose left neighbours stay in registers.
template <std::size_t step>
void undo_sub(const Row& row) {
  std::array<std::uint8_t, step> left{};
  for (std::size_t x = 0; x < row.size; x += step) {
    for (std::size_t i = 0; i < step; ++i) {
      left[i] = row.bytes[x + i] = static_cast<std::uint8_t>(row.bytes[x + i] + left[i]);
    }
  }
}

template <std::size_t step>
void undo_average(const Row& row) {
  std::array<std::uint8_t, step> left{};
  for (std::size_t x = 0; x < row.size; x += step) {
    for (std::size_t i = 0; i < step; ++i) {
      left[i] = row.bytes[x + i] = static_cast<std::uint8_t>(row.bytes[x + i] + (left[i] + row.above[x + i]) / 2);
    }
  }
}

// Without branches: which neighbour is nearest is noise in a photograph.
int nearest(int left, int above, int corner) {
  const int from_above = left - corner, from_left = above - corner;
  const int to_left = std::abs(from_left), to_above = std::abs(from_above),
            to_corner = std::abs(from_left + from_above);
  const int other = to_corner < to_above ? corner : above;
  const int to_other = to_corner < to_above ? to_corner : to_above;
  return to_left <= to_other ? left : other;
}

template <std::size_t step>
void undo_paeth(const Row& row) {
  std::array<int, step> left{}, corner{};
  for (std::size_t x = 0; x < row.size; x += step) {
    for (std::size_t i = 0; i < step; ++i) {
      const int above = row.above[x + i];
      left[i] = (row.bytes[x + i] + nearest(left[i], above, corner[i])) & 0xFF;
      corner[i] = above;
      row.bytes[x + i] = static_cast<std::uint8_t>(left[i]);
    }
  }
}

template <std::size_t step>
bool undo(std::uint8_t filter, const Row& row) {
  switch (filter) {
    case kNone:
      return true;
    case kSub:
      undo_sub<step>(row);
      return true;
    case kUp:
      undo_up(row);
      return true;
    case kAverage:
      undo_average<step>(row);
      return true;
    case kPaeth:
      undo_paeth<step>(row);
      return true;
    default:
      return false;
  }
}

using Undo = bool (*)(std::uint8_t filter, const Row& row);

Undo undo_of(std::size_t step) {
  static constexpr std::array<Undo, 9> kUndo = {nullptr, undo<1>, undo<2>, undo<3>, undo<4>,
                                                nullptr, undo<6>, nullptr, undo<8>};
  return kUndo[step];
}

std::size_t count_from(std::uint32_t size, std::uint32_t start, std::uint32_t step) {
  return size > start ? (size - start + step - 1) / step : 0;
}

}  // namespace

PngRows::PngRows(std::uint32_t width, std::uint32_t height, unsigned bits_per_pixel, bool interlaced)
    : step_((bits_per_pixel + 7) / 8) {
  struct Grid {
    std::uint32_t left, top, across, down;
  };
  static constexpr std::array<Grid, 7> kAdam7 = {
      {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
  for (std::size_t i = 0; i < (interlaced ? passes_.size() : 1); ++i) {
    const Grid grid = interlaced ? kAdam7[i] : Grid{0, 0, 1, 1};
    const std::size_t columns = count_from(width, grid.left, grid.across);
    if (columns == 0) continue;
    passes_[i] = {count_from(height, grid.top, grid.down), (columns * bits_per_pixel + 7) / 8};
    bytes_ += passes_[i].rows * (1 + passes_[i].row_bytes);
  }
}

bool PngRows::unfilter(std::uint8_t* data) const {
  const Undo undo = undo_of(step_);
  std::vector<std::uint8_t> nothing;  // above the first row
  for (const PngPass& pass : passes_) {
    nothing.resize(pass.row_bytes);
    const std::uint8_t* above = nothing.data();
    for (std::size_t y = 0; y < pass.rows; ++y, data += 1 + pass.row_bytes) {
      if (!undo(data[0], {data + 1, above, pass.row_bytes})) return false;
      data[0] = kNone;
      above = data + 1;
    }
  }
  return true;
}

}  // namespace lacuna
