#pragma once
// Which patches are hidden, and picking tokens by it. Tokens are picked first and computed on afterwards: no head and
// no loss ever sees a mask.

#include <optional>
#include <span>
#include <vector>

#include "base/config.h"
#include "base/rng.h"
#include "nn/torch.h"

namespace lacuna {

// The split of a batch's patches. Every sample has the same counts; rows are flat indices into [B*N], ascending within
// a sample.
struct MaskPlan {
  int64_t batch = 0;
  int64_t patches = 0;  // N = V + M
  at::Tensor visible;   // [B*V] int64
  at::Tensor masked;    // [B*M] int64

  int64_t visible_count() const { return visible.numel() / batch; }
  int64_t masked_count() const { return masked.numel() / batch; }

  // Inverse of picking: visible [B,V,X] and masked [B,M,X] back in raster order, [B,N,X].
  at::Tensor restore(const at::Tensor& visible_rows, const at::Tensor& masked_rows) const;
};

enum class MaskKind { kNone, kRandom, kBlock };
inline constexpr Named<MaskKind> kMaskKinds[] = {{MaskKind::kNone, "none", "every patch is visible"},
                                                 {MaskKind::kRandom, "random", "patches drawn one by one"},
                                                 {MaskKind::kBlock, "block", "rectangles until the count is exact"}};

struct MaskConfig {
  MaskKind kind = MaskKind::kBlock;
  double ratio = 0.4;
  std::optional<int64_t> count;
  int64_t min_block = 16;
  std::optional<int64_t> max_block;
  double min_aspect = 0.3;

  void fields(Fields& f);

  // Hidden patches of a grid with N patches: `count`, or the integer part of ratio * N as the official generators.
  int64_t hidden(int64_t patches) const;
};

// Where a masker takes its numbers from. Tests replay recorded draws through it.
class DrawSource {
 public:
  virtual ~DrawSource() = default;
  virtual double uniform(double low, double high) = 0;
  virtual int64_t integer(int64_t low, int64_t high) = 0;  // both ends included
};

// Rectangles of log-uniform aspect and uniform area until exactly `count` cells of the G x G grid are set; a rectangle
// that would overshoot is not placed (cae.md section 2; official furnace/masking_generator.py). 1 = masked.
std::vector<uint8_t> block_mask(int64_t grid, int64_t count, const MaskConfig& config, DrawSource& draws);

// `count` of N cells, every subset equally likely.
std::vector<uint8_t> random_mask(int64_t patches, int64_t count, DrawSource& draws);

// From one mask [N] per sample (1 = masked). All must hide the same number.
MaskPlan plan_from_masks(std::span<const std::vector<uint8_t>> masks, at::Device device);

// Draws one mask per sample from (seed, epoch, sample): the same on any rank.
class Masker {
 public:
  Masker(const MaskConfig& config, int64_t grid);
  MaskPlan draw(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples, at::Device device) const;
  const MaskConfig& config() const { return config_; }

 private:
  MaskConfig config_;
  int64_t grid_;
};

}  // namespace lacuna
