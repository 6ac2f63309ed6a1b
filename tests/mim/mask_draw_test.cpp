// Generators by themselves: exact replays of recorded draws, and what every mask must be.

#include "mim/mask_draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kGrid = 14;

using Mask = std::vector<uint8_t>;

// ---- CAE ------------------------------------------------------------------------------------------------------------

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
  const TensorFile file(golden_path("cae/masks.safetensors"));
  int replayed = 0;
  for (const std::string& key : file.names()) {
    if (!key.starts_with("trace.block.14x14.") || !key.ends_with(".draws")) continue;
    const std::string stem = key.substr(0, key.size() - 6);
    const at::Tensor wanted = to_tensor(file.at(stem + ".mask")).flatten();
    ReplayedDraws draws(to_tensor(file.at(key)).contiguous());
    const Mask mask = block_mask({kGrid, kGrid}, wanted.sum().item<int64_t>(), MaskConfig{}, draws);
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
  const Mask mask = block_mask({kGrid, kGrid}, 4, config, draws);
  EXPECT_EQ(draws.unused(), 0);
  for (const int64_t cell : {5 * 14 + 7, 5 * 14 + 8, 6 * 14 + 7, 6 * 14 + 8})
    EXPECT_EQ(mask[static_cast<size_t>(cell)], 1);
}

// ---- BEiT v2 --------------------------------------------------------------------------------------------------------

// The attempts of one recorded run, and the patches it chose in the end.
class ReplayedAttempts : public DrawSource {
 public:
  explicit ReplayedAttempts(const Json& run) : attempts_(run.at("attempts")), fill_(run.at("fill_choice")) {}

  double uniform(double low, double high) override {
    const bool is_area = ++asked_ % 2 == 1;
    if (is_area) ++attempt_;
    const double value = now().at(is_area ? "area" : "log_aspect");
    if (value < std::min(low, high) || value > std::max(low, high))
      throw std::logic_error(text("attempt ", attempt_, " recorded ", value, ", asked for [", low, ", ", high, "]"));
    ++used_;
    return value;
  }
  int64_t integer(int64_t low, int64_t high) override {
    top_ = !top_;
    const int64_t value = now().at(top_ ? "top" : "left");
    if (value < low || value > high)
      throw std::logic_error(text("attempt ", attempt_, " recorded ", value, ", asked for [", low, ", ", high, "]"));
    ++used_;
    return value;
  }
  std::vector<int64_t> choose(int64_t, int64_t k) override {
    if (k != static_cast<int64_t>(fill_.size())) throw std::logic_error(text(k, " patches to top up with"));
    ++used_;
    return fill_;
  }
  int64_t unused() const {
    int64_t recorded = fill_.empty() ? 0 : 1;
    for (const Json& attempt : attempts_) recorded += static_cast<int64_t>(attempt.size());
    return recorded - used_;
  }

 private:
  const Json& now() const { return attempts_.at(static_cast<size_t>(attempt_)); }

  Json attempts_;
  std::vector<int64_t> fill_;
  int64_t attempt_ = -1, used_ = 0;
  int asked_ = 0;
  bool top_ = false;
};

Mask stored_mask(const Json& run) {
  Mask mask;
  for (const std::string row : run.at("mask")) {
    for (const char cell : row) mask.push_back(cell == '1');
  }
  return mask;
}

TEST(ToppedUpBlockMask, ReplaysTheOfficialDrawsExactly) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/mask_replays.json");
  const Json runs = golden_json("unified/tables/mask_replays.json");
  int filled = 0, without_place = 0, wide = 0;
  for (const Json& run : runs) {
    const MaskGrid grid{run.at("grid").at(0), run.at("grid").at(1)};
    MaskConfig config;
    config.min_block = run.at("min_block");
    ReplayedAttempts draws(run);
    EXPECT_EQ(topped_up_block_mask(grid, run.at("count"), config, draws), stored_mask(run));
    EXPECT_EQ(draws.unused(), 0);
    filled += !run.at("fill_choice").empty();
    wide += grid.height != grid.width;
    for (const Json& attempt : run.at("attempts")) without_place += !attempt.contains("top");
  }
  EXPECT_EQ(runs.size(), 24u);
  EXPECT_EQ(filled, 5) << "runs that end with single patches";
  EXPECT_EQ(without_place, 1) << "attempts whose rectangle is as large as the grid";
  EXPECT_EQ(wide, 4) << "runs on a grid that is not square";
}

TEST(LooseBlockMask, IsTheToppedUpOneWithoutItsSinglePatches) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/mask_replays.json");
  for (const Json& run : golden_json("unified/tables/mask_replays.json")) {
    const MaskGrid grid{run.at("grid").at(0), run.at("grid").at(1)};
    MaskConfig config;
    config.min_block = run.at("min_block");
    ReplayedAttempts draws(run), same_draws(run);
    const Mask loose = loose_block_mask(grid, run.at("count"), config, draws);
    const Mask exact = topped_up_block_mask(grid, run.at("count"), config, same_draws);
    int64_t added = 0;
    for (size_t cell = 0; cell < loose.size(); ++cell) {
      EXPECT_LE(loose[cell], exact[cell]);
      added += exact[cell] - loose[cell];
    }
    EXPECT_EQ(added, static_cast<int64_t>(run.at("fill_choice").size()));
  }
}

TEST(BlockMask, KindsDifferOnlyAfterARoundWithoutARectangle) {
  MaskConfig config;
  int differ = 0;
  for (uint64_t sample = 0; sample < 200; ++sample) {
    const auto draws = [&] { return RngDraws(Rng(1, Purpose::kTest, 0, sample)); };
    RngDraws a = draws(), b = draws(), c = draws();
    const Mask exact = block_mask({kGrid, kGrid}, 75, config, a),
               loose = loose_block_mask({kGrid, kGrid}, 75, config, b),
               topped = topped_up_block_mask({kGrid, kGrid}, 75, config, c);
    EXPECT_EQ(std::count(exact.begin(), exact.end(), 1), 75);
    EXPECT_EQ(std::count(topped.begin(), topped.end(), 1), 75);
    if (std::count(loose.begin(), loose.end(), 1) == 75) {
      EXPECT_EQ(exact, loose);
      EXPECT_EQ(topped, loose);
    } else {
      ++differ;
      for (size_t cell = 0; cell < loose.size(); ++cell) {
        EXPECT_LE(loose[cell], exact[cell]);
        EXPECT_LE(loose[cell], topped[cell]);
      }
    }
  }
  EXPECT_GT(differ, 20);
  EXPECT_LT(differ, 120);
}

class LargestArea : public RngDraws {
 public:
  using RngDraws::RngDraws;
  double uniform(double low, double high) override {
    if (++asked_ % 2 == 1) largest = std::max({largest, low, high});  // area, then aspect
    return RngDraws::uniform(low, high);
  }
  double largest = 0;

 private:
  int asked_ = 0;
};

TEST(BlockMask, RectanglesAreDrawnUpToMaxBlock) {
  MaskConfig config;
  config.min_block = 4;
  for (const int64_t most : {6, 30}) {
    config.max_block = most;
    for (const auto& generator : {block_mask, loose_block_mask, topped_up_block_mask}) {
      LargestArea draws(Rng(2, Purpose::kTest));
      generator({kGrid, kGrid}, 60, config, draws);
      EXPECT_EQ(draws.largest, static_cast<double>(most));
    }
  }
  config.max_block.reset();
  LargestArea draws(Rng(2, Purpose::kTest));
  block_mask({kGrid, kGrid}, 60, config, draws);
  EXPECT_EQ(draws.largest, 60) << "without a limit a rectangle may be all that is hidden";
}

// ---- Random ---------------------------------------------------------------------------------------------------------

TEST(RandomMask, HidesWholeSquares) {
  RngDraws draws(Rng(3, Purpose::kTest));
  const Mask mask = random_mask({6, 10}, 24, 2, draws);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 24);
  for (size_t y = 0; y < 6; ++y) {
    for (size_t x = 0; x < 10; ++x) EXPECT_EQ(mask[y * 10 + x], mask[(y - y % 2) * 10 + x - x % 2]);
  }
}

TEST(DrawSource, ChoosesDistinctNumbersAllEquallyLikely) {
  RngDraws draws(Rng(4, Purpose::kTest));
  std::vector<int64_t> seen(20, 0);  // of the 5 * 4 ordered pairs
  constexpr int64_t kTimes = 20000;
  for (int64_t i = 0; i < kTimes; ++i) {
    const std::vector<int64_t> pair = draws.choose(5, 2);
    ASSERT_NE(pair[0], pair[1]);
    ++seen[static_cast<size_t>(pair[0] * 4 + pair[1] - (pair[1] > pair[0] ? 1 : 0))];
  }
  for (const int64_t times : seen)
    EXPECT_NEAR(static_cast<double>(times), kTimes / 20, 4.5 * std::sqrt(kTimes * 0.0475));
}

// ---- From recorded noise --------------------------------------------------------------------------------------------

// Rows that sampling kept, sorted as a plan has them.
at::Tensor ascending(const at::Tensor& ids) { return std::get<0>(ids.sort(1)); }

at::Tensor mask_of(const MaskPlan& plan) {
  return at::zeros({plan.batch * plan.patches}, at::kLong)
      .index_fill(0, plan.masked, 1)
      .view({plan.batch, plan.patches});
}

at::Tensor kept_of(const MaskPlan& plan) { return plan.visible.view({plan.batch, -1}).remainder(plan.patches); }

TEST(PlanFromOrder, RepeatsMaesMasksFromTheirNoise) {
  LACUNA_NEEDS_SHARED("golden/maskclip/masking.safetensors");
  const TensorFile file(golden_path("maskclip/masking.safetensors"));
  int compared = 0;
  for (const std::string& key : file.names()) {
    if (!key.ends_with(".noise")) continue;
    const auto stored = [&](const std::string& leaf) {
      return to_tensor(file.at(key.substr(0, key.size() - 5) + leaf)).clone();
    };
    const at::Tensor noise = stored("noise"), order = noise.argsort(-1, false), keep = stored("ids_keep");
    EXPECT_TRUE(order.equal(stored("ids_shuffle"))) << key;
    const MaskPlan plan = plan_from_order(order, keep.size(1));
    EXPECT_TRUE(mask_of(plan).equal(stored("mask"))) << key;
    EXPECT_TRUE(kept_of(plan).equal(ascending(keep))) << key;
    // Restoring undoes the shuffle: position p of an image shows row ids_restore[p] of kept, then hidden.
    const at::Tensor x = unit_tensor("x", {noise.size(0), noise.size(1), 3});
    const at::Tensor shuffled = x.gather(1, order.unsqueeze(2).expand_as(x));
    const at::Tensor theirs = shuffled.gather(1, stored("ids_restore").unsqueeze(2).expand_as(x));
    EXPECT_TRUE(plan.restore(plan.pick_visible(x), plan.pick_masked(x)).equal(theirs)) << key;
    ++compared;
  }
  EXPECT_EQ(compared, 3);
}

TEST(PlanFromOrder, RepeatsTheUnifiedRowsThatDropPatches) {
  for (const char* row : {"mae", "dbot_self", "mae_raw_pixels"}) {
    const std::string path = text("unified/rows/", row, ".safetensors");
    LACUNA_NEEDS_SHARED("golden/" + path);
    const TensorFile file(golden_path(path));
    const at::Tensor keep = to_tensor(file.at("input.keep"));
    const MaskPlan plan = plan_from_order(to_tensor(file.at("input.noise")).argsort(-1, false), keep.size(1));
    EXPECT_TRUE(mask_of(plan).equal(to_tensor(file.at("input.mask")).to(at::kLong))) << row;
    EXPECT_TRUE(kept_of(plan).equal(ascending(keep))) << row;
  }
}

TEST(AttentionOrder, RepeatsMilansSampling) {
  LACUNA_NEEDS_SHARED("golden/unified/rows/milan.safetensors");
  const TensorFile file(golden_path("unified/rows/milan.safetensors"));
  const auto stored = [&](const char* key) { return to_tensor(file.at(key)).clone(); };
  const at::Tensor order = attention_order(stored("input.importance"), stored("input.exponential"));
  EXPECT_TRUE(order.equal(stored("input.order")));
  const at::Tensor keep = stored("input.keep");
  const MaskPlan plan = plan_from_order(order, keep.size(1));
  EXPECT_TRUE(mask_of(plan).equal(stored("input.mask").to(at::kLong)));
  EXPECT_TRUE(kept_of(plan).equal(ascending(keep)));
}

TEST(AttentionOrder, PatchesWithoutImportanceComeLastInTheOrderOfTheirDraws) {
  const at::Tensor importance = torch::tensor({{0.0, 1e-300, 0.0, 0.5, 0.0}}, at::kDouble);
  const at::Tensor exponential = torch::tensor({{3.0, 30.0, 1.0, 2.0, 2.0}}, at::kDouble);
  EXPECT_TRUE(attention_order(importance, exponential).equal(torch::tensor({{3, 1, 2, 4, 0}}, at::kLong)));
}

}  // namespace
}  // namespace lacuna
