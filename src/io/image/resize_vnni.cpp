// The passes with AVX-512 VNNI. A weight is d0 + d1 * 2^8 + d2 * 2^16 with digits in [-128, 127], which holds up to
// 1.99 * 2^22; no normalised weight of the kernels reaches 1.3. vpdpbusd multiplies four taps of one digit at once.

#include "io/image/resize_passes.h"

#ifdef LACUNA_X86

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#define LACUNA_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define LACUNA_VNNI_INLINE __attribute__((target("avx512f,avx512bw,avx512vnni"), always_inline)) inline

namespace lacuna::resize_vnni {
namespace {

constexpr int kRows = 4;    // rows that one horizontal step makes
constexpr int kPixels = 4;  // pixels of each that it makes
constexpr int kBytes = 64;  // bytes that one vertical step makes

// Appends the three digits of four weights.
std::int32_t* put_four(std::int32_t* at, const int* weights) {
  std::uint32_t digits[3] = {0, 0, 0};
  for (int t = 0; t < 4; ++t) {
    int rest = weights[t];
    for (std::uint32_t& digit : digits) {
      digit |= (static_cast<std::uint32_t>(rest) & 0xFFu) << (8 * t);
      rest = (rest + 128) >> 8;
    }
  }
  for (const std::uint32_t digit : digits) *at++ = static_cast<std::int32_t>(digit);
  return at;
}

struct Sums {
  __m512i digit[3];
};

LACUNA_VNNI_INLINE Sums no_sums() {
  return {{_mm512_set1_epi32(1 << (kWeightBits - 1)), _mm512_setzero_si512(), _mm512_setzero_si512()}};
}

LACUNA_VNNI_INLINE void add_taps(Sums& sums, __m512i bytes, const std::int32_t* weights) {
  for (int i = 0; i < 3; ++i) sums.digit[i] = _mm512_dpbusd_epi32(sums.digit[i], bytes, _mm512_set1_epi32(weights[i]));
}

LACUNA_VNNI_INLINE __m512i rounded(const Sums& sums) {
  const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(sums.digit[1], 8), _mm512_slli_epi32(sums.digit[2], 16));
  return _mm512_srai_epi32(_mm512_add_epi32(sums.digit[0], high), kWeightBits);
}

// --- Horizontal.

// One entry per output: its byte offset, its groups of taps (negative where they lie at the back of the load), and for
// each group three digits. Returns the entry of the fourth last output, null where the row is too short.
const std::int32_t* pack_across(const Taps& taps, int in_width, std::vector<std::int32_t>& packed) {
  packed.resize(static_cast<std::size_t>(taps.outputs()) * (2 + 3 * (static_cast<std::size_t>(taps.stride) / 4 + 1)));
  std::int32_t* at = packed.data();
  const std::int32_t* last_four = at;
  for (int x = 0; x < taps.outputs(); ++x) {
    if (x == taps.outputs() - kPixels) last_four = at;
    const int count = taps.count[static_cast<std::size_t>(x)];
    GroupedTaps grouped;
    if (!group_taps(taps.first[static_cast<std::size_t>(x)], count, in_width, grouped)) return nullptr;
    *at++ = grouped.offset;
    *at++ = grouped.at_back ? -grouped.groups : grouped.groups;
    const int* weights = taps.of(x);
    for (int t = -grouped.skip; t < 4 * grouped.groups - grouped.skip; t += 4) {
      int four[4];
      for (int i = 0; i < 4; ++i) four[i] = t + i >= 0 && t + i < count ? weights[t + i] : 0;
      at = put_four(at, four);
    }
  }
  return last_four;
}

// Where a load holds the bytes of four pixels, as R R R R G G G G B B B B: group at the front of the load, at its back.
alignas(16) constexpr std::int8_t kPlaces[2][16] = {{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1},
                                                    {4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1}};

LACUNA_VNNI_INLINE __m128i load16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

LACUNA_VNNI_INLINE __m512i four_rows(const std::uint8_t* const* rows, std::ptrdiff_t offset) {
  __m512i all = _mm512_castsi128_si512(load16(rows[0] + offset));
  all = _mm512_inserti32x4(all, load16(rows[1] + offset), 1);
  all = _mm512_inserti32x4(all, load16(rows[2] + offset), 2);
  return _mm512_inserti32x4(all, load16(rows[3] + offset), 3);
}

// One output pixel of four rows, R G B 0 in 32 bits each. Moves `at` to the next entry.
LACUNA_VNNI_INLINE __m512i one_pixel(const std::uint8_t* const* rows, const std::int32_t*& at) {
  const __m512i places = _mm512_broadcast_i32x4(load16(kPlaces[at[1] < 0]));
  std::ptrdiff_t offset = at[0];
  const std::int32_t* end = at + 2 + 3 * static_cast<std::ptrdiff_t>(std::abs(at[1]));
  Sums sums = no_sums();
  for (at += 2; at != end; at += 3, offset += 12) {
    add_taps(sums, _mm512_shuffle_epi8(four_rows(rows, offset), places), at);
  }
  return rounded(sums);
}

LACUNA_VNNI_INLINE void put_pixels(__m128i bytes, std::uint8_t* out) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
  const int rest = _mm_extract_epi32(bytes, 2);
  std::memcpy(out + 8, &rest, sizeof rest);
}

// Four pixels of four rows; returns the entry of the pixel after them.
LACUNA_VNNI_INLINE const std::int32_t* four_pixels(const std::uint8_t* const* rows, const std::int32_t* at,
                                                   std::uint8_t* const* outs, std::ptrdiff_t left) {
  const __m512i close = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i p0 = one_pixel(rows, at), p1 = one_pixel(rows, at);
  const __m512i p2 = one_pixel(rows, at), p3 = one_pixel(rows, at);
  const __m512i pixels = _mm512_packus_epi16(_mm512_packs_epi32(p0, p1), _mm512_packs_epi32(p2, p3));
  const __m512i bytes = _mm512_shuffle_epi8(pixels, close);
  put_pixels(_mm512_castsi512_si128(bytes), outs[0] + left);
  put_pixels(_mm512_extracti32x4_epi32(bytes, 1), outs[1] + left);
  put_pixels(_mm512_extracti32x4_epi32(bytes, 2), outs[2] + left);
  put_pixels(_mm512_extracti32x4_epi32(bytes, 3), outs[3] + left);
  return at;
}

// --- Vertical.

// [output][four taps]: three digits.
void pack_down(const Taps& taps, std::vector<std::int32_t>& packed) {
  packed.resize(static_cast<std::size_t>(taps.outputs()) * 3 * (static_cast<std::size_t>(taps.stride) / 4 + 1));
  std::int32_t* at = packed.data();
  for (int y = 0; y < taps.outputs(); ++y) {
    const int count = taps.count[static_cast<std::size_t>(y)];
    for (int t = 0; t < count; t += 4) {
      int four[4] = {0, 0, 0, 0};
      std::copy_n(taps.of(y) + t, std::min(4, count - t), four);
      at = put_four(at, four);
    }
  }
}

LACUNA_VNNI_INLINE __m512i load64(const std::uint8_t* from) { return _mm512_loadu_si512(from); }

// kBytes bytes of one output row.
LACUNA_VNNI_INLINE void one_strip(const std::uint8_t* in, std::size_t stride, int count, const std::int32_t* at,
                                  std::uint8_t* out) {
  Sums sums[4] = {no_sums(), no_sums(), no_sums(), no_sums()};
  for (int t = 0; t < count; t += 4, at += 3, in += 4 * stride) {
    // Past the last tap, that row again with a weight of zero.
    const auto last = static_cast<std::size_t>(count - 1 - t);
    const __m512i a = load64(in), b = load64(in + std::min<std::size_t>(1, last) * stride);
    const __m512i c = load64(in + std::min<std::size_t>(2, last) * stride);
    const __m512i d = load64(in + std::min<std::size_t>(3, last) * stride);
    const __m512i ab = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    add_taps(sums[0], _mm512_unpacklo_epi16(ab, cd), at);
    add_taps(sums[1], _mm512_unpackhi_epi16(ab, cd), at);
    add_taps(sums[2], _mm512_unpacklo_epi16(ab_high, cd_high), at);
    add_taps(sums[3], _mm512_unpackhi_epi16(ab_high, cd_high), at);
  }
  const __m512i first = _mm512_packs_epi32(rounded(sums[0]), rounded(sums[1]));
  const __m512i second = _mm512_packs_epi32(rounded(sums[2]), rounded(sums[3]));
  _mm512_storeu_si512(out, _mm512_packus_epi16(first, second));
}

}  // namespace

LACUNA_VNNI void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed) {
  const std::int32_t* last_four = taps.outputs() < kPixels ? nullptr : pack_across(taps, pass.in_width, packed);
  if (last_four == nullptr) return resize_plain::across(pass, taps, packed);
  const int whole = taps.outputs() / kPixels * kPixels;
  for (int top = 0; top < pass.rows; top += kRows) {
    const std::uint8_t* rows[kRows];
    std::uint8_t* outs[kRows];
    for (int r = 0; r < kRows; ++r) {  // of a last block that is not full, the last row again
      const auto y = static_cast<std::size_t>(std::min(top + r, pass.rows - 1));
      rows[r] = pass.in + y * pass.in_stride;
      outs[r] = pass.out + y * pass.out_stride;
    }
    const std::int32_t* at = packed.data();
    for (int x = 0; x < whole; x += kPixels) at = four_pixels(rows, at, outs, std::ptrdiff_t{3} * x);
    // What is left, with some pixels once more.
    if (whole < taps.outputs()) four_pixels(rows, last_four, outs, std::ptrdiff_t{3} * (taps.outputs() - kPixels));
  }
}

LACUNA_VNNI void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed) {
  if (pass.row_bytes < kBytes) return resize_plain::down(pass, taps, packed);
  pack_down(taps, packed);
  const std::int32_t* at = packed.data();
  for (int y = 0; y < taps.outputs(); ++y) {
    const int count = taps.count[static_cast<std::size_t>(y)];
    const std::uint8_t* in =
        pass.in + static_cast<std::size_t>(taps.first[static_cast<std::size_t>(y)]) * pass.in_stride;
    std::uint8_t* out = pass.out + static_cast<std::size_t>(y) * pass.out_stride;
    std::size_t left = 0;
    for (; left + kBytes <= pass.row_bytes; left += kBytes) one_strip(in + left, pass.in_stride, count, at, out + left);
    // What is left, with some bytes once more.
    if (left < pass.row_bytes) {
      left = pass.row_bytes - kBytes;
      one_strip(in + left, pass.in_stride, count, at, out + left);
    }
    at += 3 * ((count + 3) / 4);
  }
}

}  // namespace lacuna::resize_vnni

#endif
