#include "mim/mask_draw.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr int kTriesPerRectangle = 10;
constexpr int kMostEmptyRounds = 10000;  // in a row; usual settings have a few
constexpr int kTrialMasks = 1000;

struct Rectangle {
  int64_t top, left, height, width;
};

template <class Visit>
void for_each_cell(MaskGrid grid, const Rectangle& r, const Visit& visit) {
  for (int64_t y = r.top; y < r.top + r.height; ++y) {
    for (int64_t x = r.left; x < r.left + r.width; ++x) visit(static_cast<size_t>(y * grid.width + x));
  }
}

int64_t rounded_side(double side) { return static_cast<int64_t>(std::nearbyint(side)); }  // ties to even, as in Python

// Tries to place one rectangle that adds between 1 and `most` patches; returns how many it added.
int64_t place_rectangle(std::vector<uint8_t>& mask, MaskGrid grid, int64_t most, const MaskConfig& config,
                        DrawSource& draws) {
  const double log_aspect = std::log(1.0 / config.min_aspect);
  for (int attempt = 0; attempt < kTriesPerRectangle; ++attempt) {
    const double area = draws.uniform(static_cast<double>(config.min_block), static_cast<double>(most));
    const double aspect = std::exp(draws.uniform(-log_aspect, log_aspect));
    const int64_t height = rounded_side(std::sqrt(area * aspect)), width = rounded_side(std::sqrt(area / aspect));
    if (height >= grid.height || width >= grid.width) continue;
    const int64_t top = draws.integer(0, grid.height - height);
    const int64_t left = draws.integer(0, grid.width - width);
    const Rectangle rectangle{top, left, height, width};
    int64_t fresh = 0;
    for_each_cell(grid, rectangle, [&](size_t cell) { fresh += mask[cell] == 0; });
    if (fresh == 0 || fresh > most) continue;
    for_each_cell(grid, rectangle, [&](size_t cell) { mask[cell] = 1; });
    return fresh;
  }
  return 0;
}

// Places rectangles until `count` patches are masked or `most_empty` rounds in a row placed none; returns how many are
// still missing.
int64_t place_rectangles(std::vector<uint8_t>& mask, MaskGrid grid, int64_t count, int most_empty,
                         const MaskConfig& config, DrawSource& draws) {
  const int64_t largest = config.max_block.value_or(count);
  int64_t missing = count;
  for (int empty = 0; missing > 0 && empty < most_empty;) {
    const int64_t fresh = place_rectangle(mask, grid, std::min(missing, largest), config, draws);
    missing -= fresh;
    empty = fresh == 0 ? empty + 1 : 0;
  }
  return missing;
}

std::vector<uint8_t> empty_mask(MaskGrid grid) { return std::vector<uint8_t>(static_cast<size_t>(grid.patches()), 0); }

[[noreturn]] void fail_to_fit(MaskGrid grid, int64_t missing, int64_t count, const MaskConfig& config) {
  fail("mask: no rectangle of min_block ", config.min_block, " and min_aspect ", config.min_aspect, " fits the ",
       missing, " of ", count, " patches still to hide on a grid of ", grid.height, " x ", grid.width,
       "; lower mask.min_block or mask.min_aspect, or use mask.kind=random");
}

}  // namespace

std::vector<int64_t> DrawSource::choose(int64_t n, int64_t k) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < k; ++i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(integer(i, n - 1))]);
  order.resize(static_cast<size_t>(k));
  return order;
}

std::vector<uint8_t> random_mask(MaskGrid grid, int64_t count, int64_t unit, DrawSource& draws) {
  invariant(grid.height % unit == 0 && grid.width % unit == 0 && count % (unit * unit) == 0, "mask: squares of ", unit,
            " x ", unit, " patches cannot give ", count, " of ", grid.height, " x ", grid.width);
  const int64_t across = grid.width / unit;
  std::vector<uint8_t> mask = empty_mask(grid);
  for (const int64_t square : draws.choose(grid.height / unit * across, count / (unit * unit))) {
    for_each_cell(grid, {square / across * unit, square % across * unit, unit, unit},
                  [&](size_t cell) { mask[cell] = 1; });
  }
  return mask;
}

std::vector<uint8_t> block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws) {
  std::vector<uint8_t> mask = empty_mask(grid);
  const int64_t missing = place_rectangles(mask, grid, count, kMostEmptyRounds, config, draws);
  if (missing > 0) fail_to_fit(grid, missing, count, config);
  return mask;
}

std::vector<uint8_t> loose_block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws) {
  std::vector<uint8_t> mask = empty_mask(grid);
  place_rectangles(mask, grid, count, 1, config, draws);
  return mask;
}

std::vector<uint8_t> topped_up_block_mask(MaskGrid grid, int64_t count, const MaskConfig& config, DrawSource& draws) {
  std::vector<uint8_t> mask = empty_mask(grid);
  const int64_t missing = place_rectangles(mask, grid, count, 1, config, draws);
  if (missing == 0) return mask;
  std::vector<size_t> visible;
  for (size_t cell = 0; cell < mask.size(); ++cell) {
    if (mask[cell] == 0) visible.push_back(cell);
  }
  for (const int64_t place : draws.choose(static_cast<int64_t>(visible.size()), missing))
    mask[visible[static_cast<size_t>(place)]] = 1;
  return mask;
}

void check_blocks_fit(MaskGrid grid, const MaskConfig& config) {
  const int64_t count = config.hidden(grid.patches());
  if (count == 0) return;
  RngDraws draws(Rng(0, Purpose::kMask));
  if (config.kind == MaskKind::kBlock) {
    block_mask(grid, count, config, draws);
    return;
  }
  for (int i = 0; i < kTrialMasks; ++i) {
    std::vector<uint8_t> mask = empty_mask(grid);
    if (place_rectangles(mask, grid, count, 1, config, draws) < count) return;
  }
  fail_to_fit(grid, count, count, config);
}

at::Tensor attention_order(const at::Tensor& importance, const at::Tensor& exponential) {
  const at::Tensor weight = importance.to(at::kDouble), wait = exponential.to(at::kDouble);
  return at::where(weight > 0, weight / wait, -wait).argsort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
}

}  // namespace lacuna
