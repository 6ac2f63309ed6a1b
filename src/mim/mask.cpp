#include "mim/mask.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr int kTriesPerRectangle = 10;
constexpr int kMostEmptyRounds = 10000;  // in a row; usual settings have a few

class RngDraws : public DrawSource {
 public:
  explicit RngDraws(Rng rng) : rng_(rng) {}
  double uniform(double low, double high) override { return rng_.uniform(low, high); }
  int64_t integer(int64_t low, int64_t high) override { return rng_.integer(low, high); }

 private:
  Rng rng_;
};

struct Rectangle {
  int64_t top, left, height, width;
};

int64_t newly_covered(const std::vector<uint8_t>& mask, int64_t grid, const Rectangle& r) {
  int64_t fresh = 0;
  for (int64_t y = r.top; y < r.top + r.height; ++y) {
    for (int64_t x = r.left; x < r.left + r.width; ++x) fresh += mask[static_cast<size_t>(y * grid + x)] == 0;
  }
  return fresh;
}

void cover(std::vector<uint8_t>& mask, int64_t grid, const Rectangle& r) {
  for (int64_t y = r.top; y < r.top + r.height; ++y) {
    for (int64_t x = r.left; x < r.left + r.width; ++x) mask[static_cast<size_t>(y * grid + x)] = 1;
  }
}

// Tries to place one rectangle that adds between 1 and `most` cells; returns how many it added.
int64_t place_rectangle(std::vector<uint8_t>& mask, int64_t grid, int64_t most, const MaskConfig& config,
                        DrawSource& draws) {
  const double log_aspect = std::log(1.0 / config.min_aspect);
  for (int attempt = 0; attempt < kTriesPerRectangle; ++attempt) {
    const double area = draws.uniform(static_cast<double>(config.min_block), static_cast<double>(most));
    const double aspect = std::exp(draws.uniform(-log_aspect, log_aspect));
    const auto height =
        static_cast<int64_t>(std::nearbyint(std::sqrt(area * aspect)));  // ties to even, as Python rounds
    const auto width = static_cast<int64_t>(std::nearbyint(std::sqrt(area / aspect)));
    if (height >= grid || width >= grid) continue;
    const int64_t top = draws.integer(0, grid - height);
    const int64_t left = draws.integer(0, grid - width);
    const Rectangle rectangle{top, left, height, width};
    const int64_t fresh = newly_covered(mask, grid, rectangle);
    if (fresh == 0 || fresh > most) continue;
    cover(mask, grid, rectangle);
    return fresh;
  }
  return 0;
}

}  // namespace

at::Tensor MaskPlan::restore(const at::Tensor& visible_rows, const at::Tensor& masked_rows) const {
  const int64_t width = visible_rows.size(2);
  at::Tensor out = at::empty({batch * patches, width}, visible_rows.options());
  out = out.index_copy(0, visible, visible_rows.reshape({-1, width}));
  return out.index_copy(0, masked, masked_rows.reshape({-1, width})).view({batch, patches, width});
}

void MaskConfig::fields(Fields& f) {
  f.add("kind", kind, kMaskKinds, {.help = "how hidden patches are chosen"});
  f.add("ratio", ratio,
        {.help = "share of the patches that is hidden",
         .min = 0,
         .max = 1,
         .below_max = true,
         .aliases = {"mask_ratio"}});
  f.add("count", count, {.help = "number of hidden patches; overrides the ratio", .unit = "patches", .min = 0});
  f.add("min_block", min_block, {.help = "smallest rectangle drawn by 'block'", .unit = "patches", .min = 1});
  f.add("max_block", max_block,
        {.help = "largest rectangle; auto is the number of hidden patches", .unit = "patches", .min = 1});
  f.add("min_aspect", min_aspect,
        {.help = "flattest rectangle, height over width; its inverse is the steepest",
         .min = 0,
         .max = 1,
         .above_min = true});
}

int64_t MaskConfig::hidden(int64_t patches) const {
  if (kind == MaskKind::kNone) return 0;
  return count ? *count : static_cast<int64_t>(ratio * static_cast<double>(patches));
}

std::vector<uint8_t> block_mask(int64_t grid, int64_t count, const MaskConfig& config, DrawSource& draws) {
  std::vector<uint8_t> mask(static_cast<size_t>(grid * grid), 0);
  const int64_t largest = config.max_block.value_or(count);
  int64_t covered = 0;
  int empty_rounds = 0;
  while (covered < count) {
    const int64_t fresh = place_rectangle(mask, grid, std::min(count - covered, largest), config, draws);
    covered += fresh;
    empty_rounds = fresh == 0 ? empty_rounds + 1 : 0;
    check(empty_rounds < kMostEmptyRounds, "mask: no rectangle of min_block ", config.min_block, " and min_aspect ",
          config.min_aspect, " fits the ", count - covered, " of ", count, " patches still to hide on a grid of ", grid,
          " x ", grid, "; lower mask.min_block or mask.min_aspect, or use mask.kind=random");
  }
  return mask;
}

std::vector<uint8_t> random_mask(int64_t patches, int64_t count, DrawSource& draws) {
  std::vector<int64_t> order(static_cast<size_t>(patches));
  std::iota(order.begin(), order.end(), 0);
  std::vector<uint8_t> mask(order.size(), 0);
  for (int64_t i = 0; i < count; ++i) {  // the first `count` places of a Fisher-Yates shuffle
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(draws.integer(i, patches - 1))]);
    mask[static_cast<size_t>(order[static_cast<size_t>(i)])] = 1;
  }
  return mask;
}

MaskPlan plan_from_masks(std::span<const std::vector<uint8_t>> masks, at::Device device) {
  invariant(!masks.empty(), "a mask plan needs at least one sample");
  const auto patches = static_cast<int64_t>(masks[0].size());
  std::vector<int64_t> visible, masked;
  for (size_t b = 0; b < masks.size(); ++b) {
    invariant(std::count(masks[b].begin(), masks[b].end(), 1) == std::count(masks[0].begin(), masks[0].end(), 1),
              "masks of one batch hide different numbers of patches");
    for (int64_t p = 0; p < patches; ++p)
      (masks[b][static_cast<size_t>(p)] ? masked : visible).push_back(static_cast<int64_t>(b) * patches + p);
  }
  return {.batch = static_cast<int64_t>(masks.size()),
          .patches = patches,
          .visible = torch::tensor(visible, at::kLong).to(device),
          .masked = torch::tensor(masked, at::kLong).to(device)};
}

Masker::Masker(const MaskConfig& config, int64_t grid) : config_(config), grid_(grid) {
  const int64_t patches = grid * grid, hidden = config_.hidden(patches);
  check(hidden >= 0 && hidden < patches, "mask: ", hidden, " hidden of ", patches,
        " patches leaves none visible; lower mask.ratio or mask.count");
  check(config_.kind != MaskKind::kBlock || hidden == 0 || config_.min_block < patches,
        "mask.min_block: ", config_.min_block, " patches do not fit a grid of ", grid, " x ", grid,
        "; use a smaller value");
}

MaskPlan Masker::draw(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples, at::Device device) const {
  const int64_t patches = grid_ * grid_, hidden = config_.hidden(patches);
  std::vector<std::vector<uint8_t>> masks;
  masks.reserve(samples.size());
  for (const int64_t sample : samples) {
    RngDraws draws(Rng(seed, Purpose::kMask, epoch, static_cast<uint64_t>(sample)));
    masks.push_back(config_.kind == MaskKind::kBlock ? block_mask(grid_, hidden, config_, draws)
                                                     : random_mask(patches, hidden, draws));
  }
  return plan_from_masks(masks, device);
}

}  // namespace lacuna
