// The passes with AVX2. A weight is low + high * 2^15 with low in [-2^14, 2^14); vpmaddwd multiplies two taps of one
// digit at once.

#include "io/image/resize_passes.h"

#ifdef LACUNA_X86

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#define LACUNA_AVX2 __attribute__((target("avx2")))
#define LACUNA_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline

namespace lacuna::resize_avx2 {
namespace {

constexpr int kDigitBits = 15;
constexpr int kRows = 4;    // rows that one horizontal step makes
constexpr int kPixels = 4;  // pixels of each that it makes
constexpr int kBytes = 32;  // bytes that one vertical step makes

struct Digits {
  int low, high;
};

Digits split(int weight) {
  const int low = ((weight + (1 << (kDigitBits - 1))) & ((1 << kDigitBits) - 1)) - (1 << (kDigitBits - 1));
  return {low, (weight - low) >> kDigitBits};
}

// Two 16-bit numbers as vpmaddwd takes them.
std::int32_t pair_of(int first, int second) {
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(second) << 16) |
                                   (static_cast<std::uint32_t>(first) & 0xFFFFu));
}

// Appends low and high of a pair of taps.
std::int32_t* put_pair(std::int32_t* at, int first, int second) {
  const Digits a = split(first), b = split(second);
  *at++ = pair_of(a.low, b.low);
  *at++ = pair_of(a.high, b.high);
  return at;
}

LACUNA_AVX2_INLINE __m256i rounded(__m256i low, __m256i high) {
  const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(low, half), _mm256_slli_epi32(high, kDigitBits));
  return _mm256_srai_epi32(sum, kWeightBits);
}

// --- Horizontal.

// One entry per output: its byte offset, its groups of taps (negative where they lie at the back of the load), and for
// each group low and high of taps 0 and 1, then of taps 2 and 3. Returns the entry of the fourth last output, null
// where the row is too short.
const std::int32_t* pack_across(const Taps& taps, int in_width, std::vector<std::int32_t>& packed) {
  packed.resize(static_cast<std::size_t>(taps.outputs()) * (2 + 4 * (static_cast<std::size_t>(taps.stride) / 4 + 3)));
  std::int32_t* at = packed.data();
  const std::int32_t* last_four = at;
  for (int x = 0; x < taps.outputs(); ++x) {
    if (x == taps.outputs() - kPixels) last_four = at;
    const auto index = static_cast<std::size_t>(x);
    const int count = taps.count[index];
    GroupedTaps grouped;
    if (!group_taps(taps.first[index], count, in_width, grouped)) return nullptr;
    *at++ = grouped.offset;
    *at++ = grouped.at_back ? -grouped.groups : grouped.groups;
    const int* weights = taps.of(x);
    const auto weight = [&](int t) {
      return t >= grouped.skip && t < grouped.skip + count ? weights[t - grouped.skip] : 0;
    };
    for (int t = 0; t < 4 * grouped.groups; t += 2) at = put_pair(at, weight(t), weight(t + 1));
  }
  return last_four;
}

LACUNA_AVX2_INLINE __m256i two_rows(const std::uint8_t* first, const std::uint8_t* second) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

// Where a load holds the bytes of pixels 0 and 1, then of 2 and 3, as 16-bit pairs R R G G B B - -: group at the front
// of the load, group at its back.
alignas(16) constexpr std::int8_t kPlaces[2][32] = {{0, -1, 3, -1, 1, -1, 4,  -1, 2, -1, 5,  -1, -1, -1, -1, -1,
                                                     6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1},
                                                    {4,  -1, 7,  -1, 5,  -1, 8,  -1, 6,  -1, 9,  -1, -1, -1, -1, -1,
                                                     10, -1, 13, -1, 11, -1, 14, -1, 12, -1, 15, -1, -1, -1, -1, -1}};

LACUNA_AVX2_INLINE __m256i both_halves(const std::int8_t* places) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(places)));
}

// One output pixel of four rows: its weighted sums as 16-bit R G B 0 of rows 0, 2 (lower half) and 1, 3 (upper half).
LACUNA_AVX2_INLINE __m256i one_pixel(const std::uint8_t* const* rows, const std::int32_t*& at) {
  const std::int8_t* places = kPlaces[at[1] < 0];
  const __m256i front = both_halves(places), back = both_halves(places + 16);
  std::ptrdiff_t offset = at[0];
  const std::int32_t* end = at + 2 + 4 * static_cast<std::ptrdiff_t>(std::abs(at[1]));
  __m256i low01 = _mm256_setzero_si256(), high01 = low01, low23 = low01, high23 = low01;
  for (at += 2; at != end; at += 4, offset += 12) {
    const __m256i a = two_rows(rows[0] + offset, rows[1] + offset), b = two_rows(rows[2] + offset, rows[3] + offset);
    const __m256i a0 = _mm256_shuffle_epi8(a, front), a1 = _mm256_shuffle_epi8(a, back);
    const __m256i b0 = _mm256_shuffle_epi8(b, front), b1 = _mm256_shuffle_epi8(b, back);
    const __m256i w0 = _mm256_set1_epi32(at[0]), h0 = _mm256_set1_epi32(at[1]);
    const __m256i w1 = _mm256_set1_epi32(at[2]), h1 = _mm256_set1_epi32(at[3]);
    low01 = _mm256_add_epi32(low01, _mm256_add_epi32(_mm256_madd_epi16(a0, w0), _mm256_madd_epi16(a1, w1)));
    high01 = _mm256_add_epi32(high01, _mm256_add_epi32(_mm256_madd_epi16(a0, h0), _mm256_madd_epi16(a1, h1)));
    low23 = _mm256_add_epi32(low23, _mm256_add_epi32(_mm256_madd_epi16(b0, w0), _mm256_madd_epi16(b1, w1)));
    high23 = _mm256_add_epi32(high23, _mm256_add_epi32(_mm256_madd_epi16(b0, h0), _mm256_madd_epi16(b1, h1)));
  }
  return _mm256_packs_epi32(rounded(low01, high01), rounded(low23, high23));
}

// Four pixels R G B - become 12 bytes.
LACUNA_AVX2_INLINE void put_pixels(__m128i pixels, std::uint8_t* out) {
  const __m128i close = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m128i bytes = _mm_shuffle_epi8(pixels, close);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
  const int rest = _mm_extract_epi32(bytes, 2);
  std::memcpy(out + 8, &rest, sizeof rest);
}

// `packed` at pixel x, of four rows; returns the place of pixel x + 4.
LACUNA_AVX2_INLINE const std::int32_t* four_pixels(const std::uint8_t* const* rows, const std::int32_t* at,
                                                   std::uint8_t* const* outs, std::ptrdiff_t left) {
  const __m256i p0 = one_pixel(rows, at), p1 = one_pixel(rows, at);
  const __m256i p2 = one_pixel(rows, at), p3 = one_pixel(rows, at);
  // Dwords: lower half p0 of row 0, p0 of row 2, p1 of row 0, p1 of row 2; upper half rows 1 and 3.
  const __m256i a = _mm256_shuffle_epi32(_mm256_packus_epi16(p0, p1), _MM_SHUFFLE(3, 1, 2, 0));
  const __m256i b = _mm256_shuffle_epi32(_mm256_packus_epi16(p2, p3), _MM_SHUFFLE(3, 1, 2, 0));
  const __m256i even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);
  put_pixels(_mm256_castsi256_si128(even), outs[0] + left);
  put_pixels(_mm256_extracti128_si256(even, 1), outs[1] + left);
  put_pixels(_mm256_castsi256_si128(odd), outs[2] + left);
  put_pixels(_mm256_extracti128_si256(odd, 1), outs[3] + left);
  return at;
}

// --- Vertical.

// [output][pair]: low and high. An odd last tap has a pair of its own.
void pack_down(const Taps& taps, std::vector<std::int32_t>& packed) {
  packed.resize(static_cast<std::size_t>(taps.outputs()) * 2 * (static_cast<std::size_t>(taps.stride) / 2 + 1));
  std::int32_t* at = packed.data();
  for (int y = 0; y < taps.outputs(); ++y) {
    const int count = taps.count[static_cast<std::size_t>(y)];
    const int* weights = taps.of(y);
    for (int t = 0; t < count; t += 2) at = put_pair(at, weights[t], t + 1 < count ? weights[t + 1] : 0);
  }
}

// kBytes bytes of one output row.
LACUNA_AVX2_INLINE void one_strip(const std::uint8_t* in, std::size_t stride, int count, const std::int32_t* at,
                                  std::uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i low[4] = {zero, zero, zero, zero}, high[4] = {zero, zero, zero, zero};
  for (int t = 0; t < count; t += 2, at += 2, in += 2 * stride) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t + 1 < count ? in + stride : in));
    const __m256i lower = _mm256_unpacklo_epi8(a, b), upper = _mm256_unpackhi_epi8(a, b);
    const __m256i bytes[4] = {_mm256_unpacklo_epi8(lower, zero), _mm256_unpackhi_epi8(lower, zero),
                              _mm256_unpacklo_epi8(upper, zero), _mm256_unpackhi_epi8(upper, zero)};
    const __m256i w = _mm256_set1_epi32(at[0]), h = _mm256_set1_epi32(at[1]);
    for (int i = 0; i < 4; ++i) {
      low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(bytes[i], w));
      high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(bytes[i], h));
    }
  }
  const __m256i first = _mm256_packs_epi32(rounded(low[0], high[0]), rounded(low[1], high[1]));
  const __m256i second = _mm256_packs_epi32(rounded(low[2], high[2]), rounded(low[3], high[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_packus_epi16(first, second));
}

}  // namespace

LACUNA_AVX2 void across(const AcrossPass& pass, const Taps& taps, std::vector<std::int32_t>& packed) {
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

LACUNA_AVX2 void down(const DownPass& pass, const Taps& taps, std::vector<std::int32_t>& packed) {
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
    at += 2 * ((count + 1) / 2);
  }
}

}  // namespace lacuna::resize_avx2

#endif
