#pragma once
// Mask generators, each a pure function of the numbers it draws. A mask has one entry per patch in raster order,
// 1 = masked.

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "mim/mask.h"
#include "nn/torch.h"

namespace lacuna {

// Where a generator takes its numbers from. Tests replay recorded draws through it.
class DrawSource {
 public:
  virtual ~DrawSource() = default;
  virtual double uniform(double low, double high) = 0;
  virtual int64_t integer(int64_t low, int64_t high) = 0;  // both ends included
  // `k` distinct numbers of 0..n-1, every ordered choice equally likely: the first k places of a Fisher-Yates shuffle.
  virtual std::vector<int64_t> choose(int64_t n, int64_t k);
};

class RngDraws : public DrawSource {
 public:
  explicit RngDraws(Rng rng) : rng_(rng) {}
  double uniform(double low, double high) override { return rng_.uniform(low, high); }
  int64_t integer(int64_t low, int64_t high) override { return rng_.integer(low, high); }

 private:
  Rng rng_;
};

struct MaskGrid {
  int64_t height = 0;
  int64_t width = 0;
  int64_t patches() const { return height * width; }
};

// `count` patches, every subset equally likely. With unit > 1 squares of unit x unit patches are drawn instead of
// patches; unit divides the grid, its square the count.
std::vector<uint8_t> random_mask(MaskGrid grid, int64_t count, int64_t unit, DrawSource& draws);

// Block-wise masks add rectangles of log-uniform aspect and uniform area. One that adds nothing, or more than is still
// to hide or than max_block, is not placed; a round ends with a rectangle or after ten such attempts. The three kinds
// differ in what follows a round that placed none (spec: maskdistill.md section 5.7, cae.md section 2):

// CAE and BootMAE begin another round, so the count is exact. Throws Error where rectangles of that kind do not fit.
std::vector<uint8_t> block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws);
// BEiT v1, data2vec, EVA, MaskFeat and iBOT stop, with `count` hidden or fewer.
std::vector<uint8_t> loose_block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws);
// BEiT v2 stops and then hides single patches, each equally likely, until the count is exact.
std::vector<uint8_t> topped_up_block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws);

// Throws Error when block masks of this config practically never find a place for a rectangle: 'block' would not end,
// and the other kinds would hide nothing, or be random in truth.
void check_blocks_fit(MaskGrid grid, const MaskConfig& config);

// Patches by descending importance / e, e ~ Exp(1): the first k are drawn without replacement with probability
// proportional to importance (MILAN; Efraimidis and Spirakis 2006). Patches of importance 0 come last, in random order.
// Both [B,N], result int64.
at::Tensor attention_order(const at::Tensor& importance, const at::Tensor& exponential);

}  // namespace lacuna
