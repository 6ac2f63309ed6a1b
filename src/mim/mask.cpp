#include "mim/mask.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "mim/mask_draw.h"

namespace lacuna {
namespace {

// ---- Counts ---------------------------------------------------------------------------------------------------------

int64_t whole(double share, int64_t places, Rounding rounding) {
  const auto n = static_cast<double>(places);
  switch (rounding) {
    case Rounding::kDown:
      return static_cast<int64_t>(share * n);
    case Rounding::kKeepDown:
      return places - static_cast<int64_t>(n * (1 - share));
    case Rounding::kUp:
      return static_cast<int64_t>(std::ceil(share * n));
    case Rounding::kNearest:
      return static_cast<int64_t>(std::nearbyint(share * n));
  }
  invariant(false, "a rounding without a rule");
  return 0;
}

int64_t hidden_at(const MaskConfig& config, double ratio, int64_t patches) {
  const int64_t square = config.unit * config.unit;
  return square * whole(ratio, patches / square, config.rounding);
}

bool draws_ratio(const MaskConfig& config) { return config.ratio_max && *config.ratio_max > config.ratio; }

int64_t count_of_sample(const MaskConfig& config, int64_t patches, DrawSource& draws) {
  if (config.clean_share > 0 && draws.uniform(0, 1) < config.clean_share) return 0;
  if (!draws_ratio(config)) return config.hidden(patches);
  return hidden_at(config, draws.uniform(config.ratio, *config.ratio_max), patches);
}

// ---- Rules between settings -----------------------------------------------------------------------------------------

bool is_block(MaskKind kind) {
  return kind == MaskKind::kBlock || kind == MaskKind::kBlockToppedUp || kind == MaskKind::kBlockLoose;
}

void check_unit(const MaskConfig& c, int64_t grid) {
  check(c.unit >= 1, "mask.unit: ", c.unit, " is not a side of a square; use 1 or more");
  if (c.unit == 1) return;
  check(c.kind == MaskKind::kRandom, "mask.unit: only mask.kind=random hides squares of ", c.unit, " x ", c.unit,
        " patches; set mask.unit=1, or mask.kind=random");
  check(grid % c.unit == 0, "mask.unit: squares of ", c.unit, " x ", c.unit, " patches do not tile a grid of ", grid,
        " x ", grid, "; use a divisor of ", grid);
  check(!c.count || *c.count % (c.unit * c.unit) == 0, "mask.count: ", c.count.value_or(0),
        " is not a multiple of the ", c.unit * c.unit, " patches that mask.unit=", c.unit, " hides together");
}

void check_ratios(const MaskConfig& c) {
  check(!c.ratio_max || *c.ratio_max >= c.ratio, "mask.ratio_max: ", c.ratio_max.value_or(0), " is below mask.ratio, ",
        c.ratio, "; each sample draws its ratio between the two");
  check(!c.ratio_max || !c.count, "mask.count: ", c.count.value_or(0),
        " fixes the number of hidden patches, and mask.ratio_max asks to draw it; leave one of them out");
  check(c.kind != MaskKind::kAttention || (!draws_ratio(c) && c.clean_share == 0),
        "mask.kind=attention hides the same number of patches in every sample; leave mask.ratio_max and "
        "mask.clean_share out");
}

void check_mask(const MaskConfig& c, int64_t grid) {
  if (c.kind == MaskKind::kNone) return;
  const int64_t patches = grid * grid;
  check_unit(c, grid);
  check_ratios(c);
  const int64_t hidden = c.hidden(patches);
  const char* name = c.count ? "count" : draws_ratio(c) ? "ratio_max" : "ratio";
  check(hidden >= 0 && hidden < patches, "mask: ", hidden, " hidden of ", patches,
        " patches leaves none visible; lower mask.", name);
  if (!is_block(c.kind) || hidden == 0) return;
  check(c.min_block < patches, "mask.min_block: ", c.min_block, " patches do not fit a grid of ", grid, " x ", grid,
        "; use a smaller value");
  check_blocks_fit({grid, grid}, c);
}

// ---- Drawing --------------------------------------------------------------------------------------------------------

Rng stream(uint64_t seed, uint64_t epoch, int64_t sample, int crop) {
  return Rng(seed, Purpose::kMask, crop_epoch(epoch, crop), static_cast<uint64_t>(sample));
}

std::vector<uint8_t> draw_mask(const MaskConfig& config, MaskGrid grid, DrawSource& draws) {
  const int64_t count = config.kind == MaskKind::kNone ? 0 : count_of_sample(config, grid.patches(), draws);
  switch (config.kind) {
    case MaskKind::kBlock:
      return block_mask(grid, count, config, draws);
    case MaskKind::kBlockToppedUp:
      return topped_up_block_mask(grid, count, config, draws);
    case MaskKind::kBlockLoose:
      return loose_block_mask(grid, count, config, draws);
    case MaskKind::kRandom:
      return random_mask(grid, count, config.unit, draws);
    case MaskKind::kNone:
      return std::vector<uint8_t>(static_cast<size_t>(grid.patches()), 0);
    case MaskKind::kAttention:
      break;  // is drawn for a batch at a time, where its guide lives
  }
  invariant(false, "this kind of mask is not drawn sample by sample");
  return {};
}

}  // namespace

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
  f.add("unit", unit, {.help = "side of the squares that 'random' hides as a whole", .unit = "patches", .min = 1});
  f.add("ratio_max", ratio_max,
        {.help = "each sample draws its ratio between `ratio` and this; auto is `ratio`",
         .min = 0,
         .max = 1,
         .below_max = true});
  f.add("clean_share", clean_share,
        {.help = "probability that a sample is left intact", .min = 0, .max = 1, .below_max = true});
  f.add("rounding", rounding, kRoundings, {.help = "how the ratio becomes a number of patches"});
}

int64_t MaskConfig::hidden(int64_t patches) const {
  if (kind == MaskKind::kNone) return 0;
  return count ? *count : hidden_at(*this, ratio_max.value_or(ratio), patches);
}

bool MaskConfig::may_be_uneven() const {
  if (kind == MaskKind::kNone) return false;
  return kind == MaskKind::kBlockLoose || draws_ratio(*this) || clean_share > 0;
}

Masker::Masker(const MaskConfig& config, int64_t grid) : config_(config), grid_(grid) { check_mask(config, grid); }

MaskPlan Masker::draw(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples, at::Device device, int crop,
                      const at::Tensor& guide) const {
  invariant(crop >= 0, "crops are numbered from 0, found ", crop);
  const int64_t patches = grid_ * grid_;
  if (!needs_guide()) {
    std::vector<std::vector<uint8_t>> masks;
    masks.reserve(samples.size());
    for (const int64_t sample : samples) {
      RngDraws draws(stream(seed, epoch, sample, crop));
      masks.push_back(draw_mask(config_, {grid_, grid_}, draws));
    }
    return plan_from_masks(masks, device);
  }
  const auto batch = static_cast<int64_t>(samples.size());
  invariant(guide.defined() && guide.sizes() == at::IntArrayRef({batch, patches}),
            "a mask by attention needs its guide's attention to ", patches, " patches of ", batch, " samples");
  std::vector<double> waits;
  waits.reserve(static_cast<size_t>(batch * patches));
  for (const int64_t sample : samples) {
    Rng rng = stream(seed, epoch, sample, crop);
    for (int64_t p = 0; p < patches; ++p) waits.push_back(-std::log(1 - rng.uniform()));
  }
  const at::Tensor exponential = torch::tensor(waits, at::kDouble).view({batch, patches}).to(device);
  const at::NoGradGuard no_grad;
  return plan_from_order(attention_order(guide.to(device), exponential), patches - config_.hidden(patches));
}

}  // namespace lacuna
