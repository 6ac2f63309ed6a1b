// Masks: exact replays of the official generator's draws, its statistics, and what every plan must be.

#include "mim/mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "mim/tokens.h"
#include "nn/vit.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kGrid = 14, kPatches = kGrid * kGrid;
constexpr int64_t kDraws = 4000;
constexpr double kMostSigmas = 4.5;

using Mask = std::vector<uint8_t>;

// Rows (kind, low, high, value) of a recorded run: kind 0 area, 1 log aspect, 2 top, 3 left.
class ReplayedDraws : public DrawSource {
 public:
  explicit ReplayedDraws(at::Tensor rows) : rows_(std::move(rows)) {}

  double uniform(double low, double high) override {
    const double kind = asked_ % 2;  // area, then aspect, of every attempt
    ++asked_;
    return next(kind, low, high, 1e-15);
  }
  int64_t integer(int64_t low, int64_t high) override {
    top_ = !top_;
    return static_cast<int64_t>(next(top_ ? 2 : 3, static_cast<double>(low), static_cast<double>(high), 0));
  }
  int64_t unused() const { return rows_.size(0) - row_; }

 private:
  double next(double kind, double low, double high, double tolerance) {
    if (row_ >= rows_.size(0)) throw std::out_of_range("more draws than recorded");
    const double* row = rows_.data_ptr<double>() + 4 * row_++;
    // What follows would index by numbers that were meant for another draw.
    if (row[0] != kind || std::abs(row[1] - low) > tolerance || std::abs(row[2] - high) > tolerance) {
      throw std::logic_error(text("draw ", row_, " asks for kind ", kind, " in [", low, ", ", high,
                                  "], recorded was kind ", row[0], " in [", row[1], ", ", row[2], "]"));
    }
    return row[3];
  }

  at::Tensor rows_;
  int64_t row_ = 0;
  int asked_ = 0;
  bool top_ = false;
};

TEST(BlockMask, ReplaysTheOfficialDrawsExactly) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.safetensors");
  const SafetensorsFile file(golden_path("cae/masks.safetensors"));
  int replayed = 0;
  for (const std::string& key : file.names()) {
    if (!key.starts_with("trace.block.14x14.") || !key.ends_with(".draws")) continue;
    const std::string stem = key.substr(0, key.size() - 6);
    const at::Tensor wanted = to_tensor(file.at(stem + ".mask")).flatten();
    ReplayedDraws draws(to_tensor(file.at(key)).contiguous());
    const Mask mask = block_mask(kGrid, wanted.sum().item<int64_t>(), MaskConfig{}, draws);
    EXPECT_TRUE(std::equal(mask.begin(), mask.end(), wanted.data_ptr<uint8_t>())) << stem;
    EXPECT_EQ(draws.unused(), 0) << stem;
    ++replayed;
  }
  EXPECT_EQ(replayed, 20);
}

TEST(BlockMask, RoundsSidesHalfToEvenAsPythonDoes) {
  // Area 6.25 and aspect 1: both sides are 2.5, so 2; sides of 3 would not fit into the 4 cells asked for.
  ReplayedDraws draws(torch::tensor({0.0, 4.0, 4.0, 6.25, 1.0, std::log(0.3), -std::log(0.3), 0.0, 2.0, 0.0, 12.0, 5.0,
                                     3.0, 0.0, 12.0, 7.0},
                                    at::kDouble)
                          .view({4, 4}));
  MaskConfig config;
  config.min_block = 4;
  const Mask mask = block_mask(kGrid, 4, config, draws);
  EXPECT_EQ(draws.unused(), 0);
  for (const int64_t cell : {5 * 14 + 7, 5 * 14 + 8, 6 * 14 + 7, 6 * 14 + 8})
    EXPECT_EQ(mask[static_cast<size_t>(cell)], 1);
}

// ---- Statistics ----

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
  const SafetensorsFile file(golden_path("cae/masks.safetensors"));
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

class CountedDraws : public DrawSource {
 public:
  explicit CountedDraws(uint64_t sample) : rng_(7, Purpose::kMask, 1, sample) {}
  double uniform(double low, double high) override { return ++uniforms, rng_.uniform(low, high); }
  int64_t integer(int64_t low, int64_t high) override { return rng_.integer(low, high); }
  int64_t uniforms = 0;

 private:
  Rng rng_;
};

TEST(BlockMask, NeedsAsManyAttemptsAsTheOfficialGenerator) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.json");
  const Json stored = golden_json("cae/masks.json").at("block");
  Ledger ledger;
  for (const int64_t count : {30, 49, 75, 78, 98}) {
    Moments attempts;
    for (int64_t i = 0; i < kDraws; ++i) {
      CountedDraws draws(static_cast<uint64_t>(i));
      block_mask(kGrid, count, MaskConfig{}, draws);
      attempts.add(static_cast<double>(draws.uniforms) / 2);
    }
    ledger.expect("standard errors: attempts", text(count),
                  sigmas(attempts, stored.at(text("block.14x14.", count)).at("attempts")), kMostSigmas);
  }
}

// ---- Properties ----

TEST(MaskConfig, ARatioGivesTheOfficialCount) {
  LACUNA_NEEDS_SHARED("golden/cae/masks.json");
  const Json stored = golden_json("cae/masks.json").at("random_ratio_to_count_196");
  ASSERT_GT(stored.size(), 10u);
  for (const auto& [ratio, count] : stored.items()) {
    MaskConfig config;
    config.ratio = std::stod(ratio);
    EXPECT_EQ(config.hidden(kPatches), count.get<int64_t>()) << ratio;
    config.count = 5;
    EXPECT_EQ(config.hidden(kPatches), 5);
    config.kind = MaskKind::kNone;
    EXPECT_EQ(config.hidden(kPatches), 0);
  }
}

TEST(MaskConfig, TheRatiosOfTheReleasedSizesGiveTheirCounts) {
  for (const int64_t count : {30, 49, 98}) {
    MaskConfig config;
    config.ratio = static_cast<double>(count) / static_cast<double>(kPatches);
    EXPECT_EQ(config.hidden(kPatches), count);
  }
}

TEST(Masker, APlanSplitsEverySampleCompletelyAndInOrder) {
  for (const MaskKind kind : {MaskKind::kBlock, MaskKind::kRandom, MaskKind::kNone}) {
    MaskConfig config;
    config.kind = kind;
    const std::vector<int64_t> samples = {3, 1, 4, 1};
    const MaskPlan plan = Masker(config, kGrid).draw(1, 2, samples, at::kCPU);
    const int64_t hidden = config.hidden(kPatches);
    EXPECT_EQ(plan.masked_count(), hidden);
    EXPECT_EQ(plan.visible_count(), kPatches - hidden);
    const at::Tensor all = std::get<0>(at::cat({plan.visible, plan.masked}).sort());
    EXPECT_TRUE(all.equal(at::arange(4 * kPatches)));
    for (const at::Tensor& rows : {plan.visible, plan.masked}) EXPECT_TRUE(rows.equal(std::get<0>(rows.sort())));
    const at::Tensor by_sample = plan.visible.view({4, -1}) - at::arange(4).unsqueeze(1) * kPatches;
    EXPECT_TRUE(by_sample[1].equal(by_sample[3])) << "the same sample must get the same mask";
    if (kind != MaskKind::kNone) {
      EXPECT_FALSE(by_sample[0].equal(by_sample[1]));
    }
  }
}

TEST(Masker, AMaskDependsOnSeedEpochAndSampleOnly) {
  const Masker masker(MaskConfig{}, kGrid);
  const auto rows = [&](uint64_t seed, uint64_t epoch, std::vector<int64_t> samples) {
    return masker.draw(seed, epoch, samples, at::kCPU)
        .masked.view({static_cast<int64_t>(samples.size()), -1})
        .remainder(kPatches);
  };
  const at::Tensor base = rows(1, 2, {5})[0];
  EXPECT_TRUE(rows(1, 2, {9, 5, 6})[1].equal(base));
  EXPECT_FALSE(rows(2, 2, {5})[0].equal(base));
  EXPECT_FALSE(rows(1, 3, {5})[0].equal(base));
}

TEST(MaskPlan, PickThenRestoreIsTheIdentity) {
  const std::vector<int64_t> samples = {0, 1, 2};
  const MaskPlan plan = Masker(MaskConfig{}, kGrid).draw(1, 0, samples, at::kCPU);
  const at::Tensor x = unit_tensor("x", {3, kPatches, 5});
  EXPECT_TRUE(plan.restore(pick_rows(x, plan.visible), pick_rows(x, plan.masked)).equal(x));
}

TEST(MaskPlan, APlanThatHidesNothingPicksNothing) {
  MaskConfig config;
  config.kind = MaskKind::kNone;
  const std::vector<int64_t> samples = {0, 1};
  const MaskPlan plan = Masker(config, 4).draw(1, 0, samples, at::kCPU);
  const at::Tensor full = unit_tensor("x", {2, 17, 5});
  const Tokens tokens = split_tokens(full, plan);
  EXPECT_EQ(tokens.masked.sizes(), (at::IntArrayRef{2, 0, 5}));
  EXPECT_TRUE(tokens.visible.equal(full.slice(1, 1)));
  EXPECT_TRUE(tokens.cls.equal(full.slice(1, 0, 1)));
  EXPECT_TRUE(plan.restore(tokens.visible, tokens.masked).equal(tokens.visible));
}

TEST(MaskPlan, PicksWhatALoopOverPatchesWouldPick) {
  const std::vector<Mask> masks = {{0, 1, 0, 1}, {1, 1, 0, 0}};
  const MaskPlan plan = plan_from_masks(masks, at::kCPU);
  const at::Tensor x = at::arange(16).view({2, 4, 2});
  EXPECT_TRUE(
      pick_rows(x, plan.visible).equal(at::stack({at::stack({x[0][0], x[0][2]}), at::stack({x[1][2], x[1][3]})})));
  EXPECT_TRUE(
      pick_rows(x, plan.masked).equal(at::stack({at::stack({x[0][1], x[0][3]}), at::stack({x[1][0], x[1][1]})})));
}

TEST(Masker, RefusesToHideEverything) {
  MaskConfig config;
  config.count = kPatches;
  EXPECT_THROW(Masker(config, kGrid), Error);
}

TEST(BlockMask, SaysSoWhenNoRectangleCanFitInsteadOfTryingForever) {
  MaskConfig config;
  config.min_block = 15;  // at least 15 cells, but no side of 4: sqrt(15) rounds to 4
  config.count = 15;
  const std::vector<int64_t> samples = {0};
  try {
    Masker(config, 4).draw(0, 0, samples, at::kCPU);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("mask: no rectangle of min_block 15"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lacuna
