#include "data/view/jitter.h"

#include <algorithm>
#include <cstddef>
#include <span>

// The loops over a block are plain C++ that the compiler turns into vectors; on x86-64 they are compiled a second time
// for AVX2. No contraction into fused products: it would round differently.
#define LACUNA_INLINE __attribute__((always_inline)) inline

namespace lacuna {
namespace {

constexpr int kBlock = 64;  // pixels

struct Block {
  alignas(64) int channels[3][kBlock];
  alignas(64) int gray[kBlock];
};

// One operation: a blend of every channel with the same level, or with the pixel's luma.
struct Step {
  bool with_luma;
  float level;
  float factor;
};

LACUNA_INLINE void load(const std::uint8_t* in, Block& block, int count) {
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < 3; ++c) block.channels[c][i] = in[3 * i + c];
  }
}

LACUNA_INLINE void store(const Block& block, std::uint8_t* out, int count) {
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < 3; ++c) out[3 * i + c] = static_cast<std::uint8_t>(block.channels[c][i]);
  }
}

LACUNA_INLINE void find_luma(Block& block) {
  const auto& [red, green, blue] = block.channels;
  for (int i = 0; i < kBlock; ++i) {
    block.gray[i] = (19595 * red[i] + 38470 * green[i] + 7471 * blue[i] + 32768) >> 16;
  }
}

LACUNA_INLINE int blend(float base, float value, float factor) {
  return static_cast<int>(std::clamp(base + factor * (value - base), 0.0f, 255.0f));
}

LACUNA_INLINE void apply(const Step& step, Block& block) {
  if (step.with_luma) find_luma(block);
  for (auto& channel : block.channels) {
    for (int i = 0; i < kBlock; ++i) {
      const float base = step.with_luma ? static_cast<float>(block.gray[i]) : step.level;
      channel[i] = blend(base, static_cast<float>(channel[i]), step.factor);
    }
  }
}

// `count` pixels after the steps, written to `out`.
LACUNA_INLINE void change(const std::uint8_t* in, std::uint8_t* out, std::size_t count, std::span<const Step> steps) {
  Block block{};
  for (std::size_t i = 0; i < count; i += kBlock) {
    const int here = static_cast<int>(std::min<std::size_t>(kBlock, count - i));
    here == kBlock ? load(in + 3 * i, block, kBlock) : load(in + 3 * i, block, here);
    for (const Step& step : steps) apply(step, block);
    here == kBlock ? store(block, out + 3 * i, kBlock) : store(block, out + 3 * i, here);
  }
}

// The sum of their luma.
LACUNA_INLINE std::int64_t sum_luma(const std::uint8_t* in, std::size_t count, std::span<const Step> steps) {
  Block block{};
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < count; i += kBlock) {
    const int here = static_cast<int>(std::min<std::size_t>(kBlock, count - i));
    here == kBlock ? load(in + 3 * i, block, kBlock) : load(in + 3 * i, block, here);
    for (const Step& step : steps) apply(step, block);
    find_luma(block);
    int part = 0;
    for (int k = 0; k < kBlock; ++k) part += k < here ? block.gray[k] : 0;
    sum += part;
  }
  return sum;
}

struct Loops {
  void (*change)(const std::uint8_t* in, std::uint8_t* out, std::size_t count, std::span<const Step> steps);
  std::int64_t (*sum_luma)(const std::uint8_t* in, std::size_t count, std::span<const Step> steps);
};

void change_plain(const std::uint8_t* in, std::uint8_t* out, std::size_t count, std::span<const Step> steps) {
  change(in, out, count, steps);
}
std::int64_t sum_luma_plain(const std::uint8_t* in, std::size_t count, std::span<const Step> steps) {
  return sum_luma(in, count, steps);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void change_avx2(const std::uint8_t* in, std::uint8_t* out, std::size_t count,
                                                 std::span<const Step> steps) {
  change(in, out, count, steps);
}
__attribute__((target("avx2"))) std::int64_t sum_luma_avx2(const std::uint8_t* in, std::size_t count,
                                                           std::span<const Step> steps) {
  return sum_luma(in, count, steps);
}
#endif

Loops loops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return {change_avx2, sum_luma_avx2};
#endif
  return {change_plain, sum_luma_plain};
}

void copy_rows(const ImageView& from, Image& out) {
  const std::size_t bytes = static_cast<std::size_t>(from.width) * 3;
  out.width = from.width;
  out.height = from.height;
  out.pixels.resize(bytes * static_cast<std::size_t>(from.height));
  for (int y = 0; y < from.height; ++y) std::copy_n(from.row(y), bytes, out.row(y));
}

// The long way, which hue takes: all operations on the whole image.
void jitter_whole(const ImageView& whole, const Box& box, const ColorJitter& jitter, Image& out) {
  Image changed;
  copy_rows(whole, changed);
  color_jitter(changed, jitter);
  copy_rows(ImageView(changed).part(box), out);
}

}  // namespace

void jittered_part(const ImageView& whole, const Box& box, const ColorJitter& jitter, Image& out) {
  if (jitter.hue) return jitter_whole(whole, box, jitter, out);
  const Loops run = loops();
  Step steps[3];
  std::size_t count = 0;
  for (const ColorOp op : jitter.order) {
    switch (op) {
      case ColorOp::kBrightness:
        steps[count++] = {false, 0.0f, static_cast<float>(jitter.brightness)};
        break;
      case ColorOp::kSaturation:
        steps[count++] = {true, 0.0f, static_cast<float>(jitter.saturation)};
        break;
      case ColorOp::kContrast: {
        std::int64_t sum = 0;
        for (int y = 0; y < whole.height; ++y) {
          sum += run.sum_luma(whole.row(y), static_cast<std::size_t>(whole.width), std::span(steps).first(count));
        }
        const double pixels = static_cast<double>(whole.width) * whole.height;
        const int level = static_cast<int>(static_cast<double>(sum) / pixels + 0.5);
        steps[count++] = {false, static_cast<float>(level), static_cast<float>(jitter.contrast)};
        break;
      }
      case ColorOp::kHue:
        break;
    }
  }
  const ImageView part = whole.part(box);
  out.width = part.width;
  out.height = part.height;
  out.pixels.resize(static_cast<std::size_t>(part.width) * static_cast<std::size_t>(part.height) * 3);
  for (int y = 0; y < part.height; ++y)
    run.change(part.row(y), out.row(y), static_cast<std::size_t>(part.width), std::span<const Step>(steps));
}

}  // namespace lacuna
