// The passes in plain C++: for machines without AVX2, rows too short for vectors, and as the measure of the others.

#include <algorithm>
#include <array>

#include "io/image/resize_passes.h"

namespace lacuna {
namespace {

constexpr std::size_t kLane = 48;  // bytes of a row made at once
constexpr int kHalf = 1 << (kWeightBits - 1);

std::uint8_t to_byte(int sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

}  // namespace

bool group_taps(int first, int count, int in_width, GroupedTaps& grouped) {
  const int groups = (count + 3) / 4, width = 4 * groups;
  if (first + width + 2 <= in_width) {
    grouped = {3 * first, groups, 0, false};
    return true;
  }
  const int begin = std::min(first, in_width - width);
  if (begin < 2) return false;
  grouped = {3 * begin - 4, groups, first - begin, true};
  return true;
}

namespace resize_plain {

void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>&) {
  for (int y = 0; y < pass.rows; ++y) {
    const std::uint8_t* row = pass.in + static_cast<std::size_t>(y) * pass.in_stride;
    std::uint8_t* out = pass.out + static_cast<std::size_t>(y) * pass.out_stride;
    for (int x = 0; x < taps.outputs(); ++x, out += 3) {
      const int* weights = taps.of(x);
      const std::uint8_t* in = row + static_cast<std::ptrdiff_t>(taps.first[static_cast<std::size_t>(x)]) * 3;
      int red = kHalf, green = kHalf, blue = kHalf;
      for (int t = 0; t < taps.count[static_cast<std::size_t>(x)]; ++t, in += 3) {
        red += weights[t] * in[0];
        green += weights[t] * in[1];
        blue += weights[t] * in[2];
      }
      out[0] = to_byte(red);
      out[1] = to_byte(green);
      out[2] = to_byte(blue);
    }
  }
}

void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>&) {
  for (int y = 0; y < taps.outputs(); ++y) {
    const int* weights = taps.of(y);
    const int count = taps.count[static_cast<std::size_t>(y)];
    const std::uint8_t* top =
        pass.in + static_cast<std::size_t>(taps.first[static_cast<std::size_t>(y)]) * pass.in_stride;
    std::uint8_t* out = pass.out + static_cast<std::size_t>(y) * pass.out_stride;
    for (std::size_t left = 0; left < pass.row_bytes; left += kLane) {
      const std::size_t width = std::min(kLane, pass.row_bytes - left);
      std::array<int, kLane> sums;
      sums.fill(kHalf);
      const std::uint8_t* in = top + left;
      for (int t = 0; t < count; ++t, in += pass.in_stride) {
        for (std::size_t i = 0; i < width; ++i) sums[i] += weights[t] * in[i];
      }
      for (std::size_t i = 0; i < width; ++i) out[left + i] = to_byte(sums[i]);
    }
  }
}

}  // namespace resize_plain
}  // namespace lacuna
