// What many masks have in common: cell maps, blocks and counts of the official generators, and exact probabilities.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "mim/mask.h"
#include "mim/mask_draw.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kGrid = 14, kPatches = kGrid * kGrid;
constexpr int64_t kDraws = 4000;
constexpr double kMostSigmas = 4.5;

using Mask = std::vector<uint8_t>;

struct Moments {
  double sum = 0, squares = 0;
  int64_t n = 0;
  void add(double x) { sum += x, squares += x * x, ++n; }
  double mean() const { return sum / static_cast<double>(n); }
  double error() const {
    return std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean() * mean()) / static_cast<double>(n));
  }
};

double sigmas(const Moments& found, const Json& stored) {
  return std::abs(found.mean() - stored.at("mean").get<double>()) /
         std::hypot(found.error(), stored.at("standard_error").get<double>());
}

bool at_cell(const Mask& mask, int64_t y, int64_t x) {
  return y >= 0 && x >= 0 && y < kGrid && x < kGrid && mask[static_cast<size_t>(y * kGrid + x)] != 0;
}

// Sizes of the 4-connected masked components.
std::vector<int64_t> components(Mask mask) {
  std::vector<int64_t> sizes;
  for (int64_t start = 0; start < kPatches; ++start) {
    if (mask[static_cast<size_t>(start)] == 0) continue;
    std::vector<int64_t> stack = {start};
    mask[static_cast<size_t>(start)] = 0;
    int64_t size = 0;
    while (!stack.empty()) {
      const int64_t cell = stack.back(), y = cell / kGrid, x = cell % kGrid;
      stack.pop_back();
      ++size;
      for (const auto& [dy, dx] : {std::pair{0, 1}, {0, -1}, {1, 0}, {-1, 0}}) {
        if (!at_cell(mask, y + dy, x + dx)) continue;
        mask[static_cast<size_t>((y + dy) * kGrid + x + dx)] = 0;
        stack.push_back((y + dy) * kGrid + x + dx);
      }
    }
    sizes.push_back(size);
  }
  return sizes;
}

std::vector<Mask> draw_masks(const MaskConfig& config, int64_t count) {
  const Masker masker(config, kGrid);
  std::vector<int64_t> samples(static_cast<size_t>(count));
  std::iota(samples.begin(), samples.end(), 0);
  const MaskPlan plan = masker.draw(7, 0, samples, at::kCPU);
  std::vector<Mask> masks(samples.size(), Mask(kPatches, 0));
  const int64_t* rows = plan.masked.data_ptr<int64_t>();
  for (int64_t i = 0; i < plan.masked.numel(); ++i)
    masks[static_cast<size_t>(rows[i] / kPatches)][static_cast<size_t>(rows[i] % kPatches)] = 1;
  return masks;
}

struct MaskCase {
  MaskKind kind;
  int64_t count;
};

std::ostream& operator<<(std::ostream& out, const MaskCase& each) { return out << each.count << " hidden"; }

class MaskStatistics : public ::testing::TestWithParam<MaskCase> {
 protected:
  std::string name() const {
    return text(GetParam().kind == MaskKind::kBlock ? "block" : "random", ".14x14.", GetParam().count);
  }
};

TEST_P(MaskStatistics, CellsPairsEdgesAndComponentsAreTheOfficialOnes) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.json");
  const Json stored =
      golden_json("cae/masks.json").at(GetParam().kind == MaskKind::kBlock ? "block" : "random").at(name());
  const TensorFile file(golden_path("cae/masks.safetensors"));
  MaskConfig config;
  config.kind = GetParam().kind;
  config.count = GetParam().count;
  const std::vector<Mask> masks = draw_masks(config, kDraws);

  at::Tensor frequency = at::zeros({kPatches}, at::kDouble);
  Moments edges, right, down, count, largest_one;
  for (const Mask& mask : masks) {
    ASSERT_EQ(std::accumulate(mask.begin(), mask.end(), int64_t{0}), GetParam().count);
    int64_t cut = 0, pairs_right = 0, pairs_down = 0;
    for (int64_t y = 0; y < kGrid; ++y) {
      for (int64_t x = 0; x < kGrid; ++x) {
        const bool here = at_cell(mask, y, x);
        frequency.data_ptr<double>()[y * kGrid + x] += here;
        if (x + 1 < kGrid) cut += here != at_cell(mask, y, x + 1), pairs_right += here && at_cell(mask, y, x + 1);
        if (y + 1 < kGrid) cut += here != at_cell(mask, y + 1, x), pairs_down += here && at_cell(mask, y + 1, x);
      }
    }
    edges.add(static_cast<double>(cut));
    right.add(static_cast<double>(pairs_right));
    down.add(static_cast<double>(pairs_down));
    const std::vector<int64_t> sizes = components(mask);
    count.add(static_cast<double>(sizes.size()));
    largest_one.add(static_cast<double>(*std::max_element(sizes.begin(), sizes.end())));
  }

  Ledger ledger;
  const at::Tensor theirs = to_tensor(file.at(name() + ".cell_frequency")).flatten();
  const auto drawn = stored.at("draws").get<double>();
  const at::Tensor mine = frequency / static_cast<double>(kDraws);
  const at::Tensor spread = (theirs * (1 - theirs) * (1.0 / static_cast<double>(kDraws) + 1.0 / drawn)).sqrt();
  ledger.expect("standard errors: cells", name(), largest((mine - theirs) / spread), kMostSigmas);
  ledger.expect("standard errors: cut edges", name(), sigmas(edges, stored.at("edges")), kMostSigmas);
  ledger.expect("standard errors: pairs", name() + " right", sigmas(right, stored.at("pair_right")), kMostSigmas);
  ledger.expect("standard errors: pairs", name() + " down", sigmas(down, stored.at("pair_down")), kMostSigmas);
  ledger.expect("standard errors: components", name(), sigmas(count, stored.at("components")), kMostSigmas);
  ledger.expect("standard errors: largest component", name(), sigmas(largest_one, stored.at("largest_component")),
                kMostSigmas);
}

INSTANTIATE_TEST_SUITE_P(Counts, MaskStatistics,
                         ::testing::Values(MaskCase{MaskKind::kBlock, 30}, MaskCase{MaskKind::kBlock, 49},
                                           MaskCase{MaskKind::kBlock, 75}, MaskCase{MaskKind::kBlock, 78},
                                           MaskCase{MaskKind::kBlock, 98}, MaskCase{MaskKind::kRandom, 30},
                                           MaskCase{MaskKind::kRandom, 49}, MaskCase{MaskKind::kRandom, 75},
                                           MaskCase{MaskKind::kRandom, 78}, MaskCase{MaskKind::kRandom, 98},
                                           MaskCase{MaskKind::kRandom, 147}),
                         [](const auto& each) {
                           return text(each.param.kind == MaskKind::kBlock ? "block_" : "random_", each.param.count);
                         });

// Numbers of a stream, counted. The area's upper end is what is still to hide, so it changes with every rectangle that
// was placed.
class CountedDraws : public DrawSource {
 public:
  explicit CountedDraws(uint64_t sample, uint64_t epoch = 1) : rng_(7, Purpose::kMask, epoch, sample) {}
  double uniform(double low, double high) override {
    if (++uniforms % 2 == 1 && high != area_end_) ++budgets, area_end_ = high;
    return rng_.uniform(low, high);
  }
  int64_t integer(int64_t low, int64_t high) override { return rng_.integer(low, high); }
  std::vector<int64_t> choose(int64_t n, int64_t k) override {
    topped_up += k;
    return DrawSource::choose(n, k);
  }
  int64_t uniforms = 0, budgets = 0, topped_up = 0;

 private:
  Rng rng_;
  double area_end_ = -1;
};

TEST(BlockMask, NeedsAsManyAttemptsAsTheOfficialGenerator) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.json");
  const Json stored = golden_json("cae/masks.json").at("block");
  Ledger ledger;
  for (const int64_t count : {30, 49, 75, 78, 98}) {
    Moments attempts;
    for (int64_t i = 0; i < kDraws; ++i) {
      CountedDraws draws(static_cast<uint64_t>(i));
      block_mask({kGrid, kGrid}, count, MaskConfig{}, draws);
      attempts.add(static_cast<double>(draws.uniforms) / 2);
    }
    ledger.expect("standard errors: attempts", text(count),
                  sigmas(attempts, stored.at(text("block.14x14.", count)).at("attempts")), kMostSigmas);
  }
}

// ---- The unified table's block generators (golden/unified/tables) ---------------------------------------------------

struct BlockStatistics {
  explicit BlockStatistics(MaskGrid of) : grid(of), map(static_cast<size_t>(of.patches()), 0) {}

  void add(const Mask& mask, int64_t asked, const CountedDraws& draws) {
    const int64_t hidden = std::accumulate(mask.begin(), mask.end(), int64_t{0});
    const bool by_rectangles = hidden == asked && draws.topped_up == 0;
    blocks.add(static_cast<double>(draws.budgets - (by_rectangles ? 0 : 1)));
    topped_up.add(static_cast<double>(draws.topped_up));
    count.add(static_cast<double>(hidden));
    most = std::max(most, hidden);
    for (size_t cell = 0; cell < mask.size(); ++cell) map[cell] += mask[cell];
    int64_t agree = 0;
    for (int64_t y = 0; y < grid.height; ++y) {
      for (int64_t x = 0; x < grid.width; ++x) {
        const auto cell = static_cast<size_t>(y * grid.width + x), across = static_cast<size_t>(grid.width);
        if (x + 1 < grid.width) agree += mask[cell] == mask[cell + 1];
        if (y + 1 < grid.height) agree += mask[cell] == mask[cell + across];
      }
    }
    const int64_t pairs = 2 * grid.patches() - grid.height - grid.width;
    agreement.add(static_cast<double>(agree) / static_cast<double>(pairs));
  }

  MaskGrid grid;
  std::vector<double> map;
  Moments blocks, topped_up, count, agreement;
  int64_t most = 0;
};

constexpr int64_t kUnifiedDraws = 20000;
constexpr double kMapLimit = 0.02, kMeanLimit = 0.05;  // what the reference accepts

class UnifiedMasks : public ::testing::TestWithParam<const char*> {};

TEST_P(UnifiedMasks, MapBlocksAndCountsAreTheOfficialOnes) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/mask_statistics.json");
  const std::string name = GetParam();
  const Json stored = golden_json("unified/tables/mask_statistics.json").at(name), official = stored.at("official");
  const TensorFile maps(golden_path("unified/tables/mask_maps.safetensors"));
  const MaskGrid grid{stored.at("grid").at(0), stored.at("grid").at(1)};
  const int64_t count = stored.at("count");
  const bool exact = stored.at("exact");
  MaskConfig config;
  config.min_block = stored.at("min_block");

  BlockStatistics found(grid);
  for (int64_t i = 0; i < kUnifiedDraws; ++i) {
    CountedDraws draws(static_cast<uint64_t>(i));
    const Mask mask = (exact ? topped_up_block_mask : loose_block_mask)(grid, count, config, draws);
    found.add(mask, count, draws);
  }

  const at::Tensor map = torch::tensor(found.map, at::kDouble) / static_cast<double>(kUnifiedDraws);
  const auto off = [&](const Moments& mine, const char* key) { return mine.mean() - official.at(key).get<double>(); };
  Ledger ledger;
  ledger.expect_close("largest difference of a cell", name, map, to_tensor(maps.at(name + ".p_mask")).flatten(),
                      kMapLimit);
  ledger.expect("mean blocks", name, std::abs(off(found.blocks, "blocks_mean")), kMeanLimit);
  ledger.expect("mean single patches", name, std::abs(off(found.topped_up, "topup_mean")), kMeanLimit);
  ledger.expect("mean count", name, std::abs(off(found.count, "count_mean")), kMeanLimit);
  ledger.expect("neighbours that agree", name, std::abs(off(found.agreement, "neighbour_agreement")), 0.002);
  EXPECT_EQ(found.most, official.at("count_max").get<int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Tables, UnifiedMasks,
                         ::testing::Values("v2_14x14_75", "v2_14x14_78", "v2_14x14_78_min15", "v2_14x14_98",
                                           "v2_14x14_118", "v2_16x16_102", "v1_14x14_75", "v1_14x14_78", "v1_14x14_120",
                                           "v1_16x16_105"),
                         [](const auto& each) { return std::string(each.param); });

TEST(UnifiedMasks, EveryStoredTableIsCompared) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/mask_statistics.json");
  EXPECT_EQ(golden_json("unified/tables/mask_statistics.json").size(), 10u);
}

// ---- Random masks ---------------------------------------------------------------------------------------------------

TEST(RandomMask, PositionsAndNeighboursAreThoseOfUniformSubsets) {
  LACUNA_NEEDS_SHARED("golden/maskclip/masking.json");
  const Json stored = golden_json("maskclip/masking.json").at("image").at("statistics");
  MaskConfig config;
  config.kind = MaskKind::kRandom;
  config.ratio = 0.75;
  config.rounding = Rounding::kKeepDown;
  ASSERT_EQ(config.hidden(stored.at("patches")), stored.at("masked").get<int64_t>());
  const auto draws = stored.at("draws").get<int64_t>();
  std::vector<double> map(kPatches, 0);
  Moments pairs;
  for (const Mask& mask : draw_masks(config, draws)) {
    int64_t both = 0;
    for (int64_t y = 0; y < kGrid; ++y) {
      for (int64_t x = 0; x < kGrid; ++x) {
        map[static_cast<size_t>(y * kGrid + x)] += at_cell(mask, y, x);
        both += at_cell(mask, y, x) && at_cell(mask, y, x + 1);
        both += at_cell(mask, y, x) && at_cell(mask, y + 1, x);
      }
    }
    pairs.add(static_cast<double>(both));
  }
  const at::Tensor off = torch::tensor(map, at::kDouble) / static_cast<double>(draws) -
                         stored.at("position_frequency_expected").get<double>();
  const double sigma = stored.at("position_frequency_sigma");
  Ledger ledger;
  ledger.expect("standard errors: positions", "random 147", largest(off) / sigma, kMostSigmas);
  const double pair_error = stored.at("masked_neighbour_pairs_std").get<double>() / std::sqrt(draws);
  const double pairs_expected = stored.at("masked_neighbour_pairs_expected");
  ledger.expect("standard errors: neighbour pairs", "random 147", std::abs(pairs.mean() - pairs_expected) / pair_error,
                4);
  // Positions of one mask are dependent: their variance sums to N-1 of N independent ones.
  const double chi_square = ((off / sigma).square().sum() * (kPatches - 1) / kPatches).item<double>();
  const Json accepted = stored.at("chi_square_accept_between_0.0001_and_0.9999_quantile");
  EXPECT_GT(chi_square, accepted.at(0).get<double>());
  EXPECT_LT(chi_square, accepted.at(1).get<double>());
}

TEST(RandomMask, EverySquareOfPatchesIsHiddenEquallyOften) {
  MaskConfig config;
  config.kind = MaskKind::kRandom;
  config.ratio = 0.6;
  config.unit = 2;
  config.rounding = Rounding::kUp;
  const double share = 30.0 / 49, sigma = std::sqrt(share * (1 - share) / static_cast<double>(kDraws));
  std::vector<double> map(kPatches, 0);
  for (const Mask& mask : draw_masks(config, kDraws)) {
    for (size_t cell = 0; cell < mask.size(); ++cell) map[cell] += mask[cell];
  }
  const at::Tensor off = torch::tensor(map, at::kDouble) / static_cast<double>(kDraws) - share;
  Ledger ledger;
  ledger.expect("standard errors: squares", "30 of 49", largest(off) / sigma, kMostSigmas);
}

TEST(AttentionMask, InclusionProbabilitiesAreThoseOfSamplingWithoutReplacement) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/sampling.json");
  const Json stored = golden_json("unified/tables/sampling.json").at("attention_sampling");
  const auto weights = stored.at("weights").get<std::vector<double>>();
  const auto expected = stored.at("inclusion_probability").get<std::vector<double>>();
  const int64_t draws = 100000, patches = stored.at("of"), kept = stored.at("kept");
  ASSERT_EQ(static_cast<int64_t>(weights.size()), patches);
  MaskConfig config;
  config.kind = MaskKind::kAttention;
  config.count = patches - kept;
  std::vector<int64_t> samples(static_cast<size_t>(draws));
  std::iota(samples.begin(), samples.end(), 0);
  const at::Tensor guide = torch::tensor(weights, at::kDouble).expand({draws, patches});
  const MaskPlan plan = Masker(config, 4).draw(7, 0, samples, at::kCPU, 0, guide);
  ASSERT_EQ(plan.visible_count(), kept);
  const at::Tensor found = at::bincount(plan.visible.remainder(patches), {}, patches) / static_cast<double>(draws);
  const at::Tensor exact = torch::tensor(expected, at::kDouble);
  const at::Tensor error = (exact * (1 - exact) / static_cast<double>(draws)).sqrt();
  Ledger ledger;
  ledger.expect("standard errors: kept", "4 of 16", largest((found - exact) / error), kMostSigmas);
}

// ---- iBOT's ---------------------------------------------------------------------------------------------------------

MaskConfig ibot_masks() {
  MaskConfig config;
  config.kind = MaskKind::kBlockLoose;
  config.ratio = 0.1;
  config.ratio_max = 0.5;
  config.clean_share = 0.5;
  return config;
}

TEST(MixedMasks, HalfOfTheSamplesStayIntactAndTheOthersDrawTheirRatio) {
  MaskConfig config = ibot_masks();
  config.kind = MaskKind::kRandom;  // exact, so that the drawn ratio can be read off
  Moments clean, count;
  int64_t least = kPatches, most = 0;
  for (const Mask& mask : draw_masks(config, kDraws)) {
    const int64_t hidden = std::accumulate(mask.begin(), mask.end(), int64_t{0});
    clean.add(hidden == 0);
    if (hidden == 0) continue;
    count.add(static_cast<double>(hidden));
    least = std::min(least, hidden), most = std::max(most, hidden);
  }
  const double expected = 0.3 * kPatches - 0.5;  // the integer part loses half a patch
  EXPECT_LT(std::abs(clean.mean() - 0.5), kMostSigmas * clean.error());
  EXPECT_LT(std::abs(count.mean() - expected), kMostSigmas * count.error() + 0.1);
  EXPECT_EQ(least, 19);
  EXPECT_EQ(most, 97);
}

TEST(MixedMasks, LooseBlocksNeverHideMoreThanTheirRatio) {
  const std::vector<Mask> masks = draw_masks(ibot_masks(), kDraws);
  Moments clean;
  int64_t most = 0;
  for (const Mask& mask : masks) {
    const int64_t hidden = std::accumulate(mask.begin(), mask.end(), int64_t{0});
    clean.add(hidden == 0);
    most = std::max(most, hidden);
  }
  EXPECT_LE(most, kPatches / 2);
  EXPECT_GT(most, kPatches / 2 - 8);
  EXPECT_LT(std::abs(clean.mean() - 0.5), 0.05);
}

}  // namespace
}  // namespace lacuna
