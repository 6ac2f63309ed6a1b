#pragma once
// The two passes of a resize, in several forms that give the same bytes: sum of weight times byte in 32 bits, started
// at half, shifted right by kWeightBits, clamped to a byte.
//
// Weights have more than 16 bits and the fast multiply-and-add instructions take 16 or 8, so a weight is split into
// digits, w = low + high * 2^k. Each digit's sum is exact modulo 2^32, so is their combination, and the whole sum fits
// in 32 bits (sum of |w| is below 1.6 * 2^22), hence equal. See resize_avx2.cpp and resize_vnni.cpp.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/image/resize_taps.h"

namespace lacuna {

// Filters each of `rows` rows of RGB pixels: [rows][in_width] to [rows][taps.outputs()].
struct AcrossPass {
  const std::uint8_t* in;
  std::size_t in_stride;
  int in_width;
  int rows;
  std::uint8_t* out;
  std::size_t out_stride;
};

// Filters columns: [taps.end_in()][row_bytes] to [taps.outputs()][row_bytes]. Coordinates of the taps count from `in`.
struct DownPass {
  const std::uint8_t* in;
  std::size_t in_stride;
  std::size_t row_bytes;
  std::uint8_t* out;
  std::size_t out_stride;
};

// No byte outside the rows of `in` is read and none outside those of `out` is written. `packed` is scratch that grows.
struct ResizePasses {
  const char* name;
  void (*across)(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
  void (*down)(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
};

// Those that this machine can run, the fastest last; the first is plain C++ and runs everywhere.
std::span<const ResizePasses> resize_passes();

namespace resize_plain {
void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
}  // namespace resize_plain

#if defined(__x86_64__)
#define LACUNA_X86 1
namespace resize_avx2 {
void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
}  // namespace resize_avx2
namespace resize_vnni {
void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed);
}  // namespace resize_vnni
#endif

// Taps of a row taken in groups of four pixels, 12 bytes, each group by one load of 16 bytes. The group lies at the
// front of what is loaded; near the end of the row, where such a load would leave it, at the back.
struct GroupedTaps {
  int offset;    // in bytes, of the first load
  int groups;    // of four taps
  int skip;      // weights of zero before the first tap
  bool at_back;  // the group is bytes 4 to 15 of the load, else 0 to 11
};

// False where the row is too short for that.
bool group_taps(int first, int count, int in_width, GroupedTaps& grouped);

}  // namespace lacuna
