#include "nn/position.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

struct Table {
  int64_t grid, width;
};

class SinCosPositions : public ::testing::TestWithParam<Table> {};

TEST_P(SinCosPositions, HasTheOfficialValues) {
  LACUNA_NEEDS_SHARED("golden/cae/position_tables.safetensors");
  const auto& [grid, width] = GetParam();
  const std::string name = text(grid, "x", grid, ".", width);
  const Json stored = golden_json("cae/position_tables.json").at("pos_embed").at(name);
  const TensorFile file(golden_path("cae/position_tables.safetensors"));
  const at::Tensor table = sin_cos_positions(grid, width);
  ASSERT_EQ(table.scalar_type(), at::kFloat);
  ASSERT_EQ(table.sizes(), (at::IntArrayRef{1, 1 + grid * grid, width}));

  const bool whole = file.has("pos_embed." + name);
  const at::Tensor expected = to_tensor(file.at("pos_embed." + name + (whole ? "" : ".rows")));
  const auto rows = stored.at("rows").get<std::vector<int64_t>>();
  const at::Tensor mine = table[0].index_select(0, torch::tensor(rows, at::kLong));
  const at::Tensor theirs = expected.reshape({-1, width});
  Ledger ledger;
  ledger.expect_close("table", name, mine, theirs, 2e-6);
  const auto found = probe("pos_embed." + name, table);
  for (size_t i = 0; i < 3; ++i)  // 151,296 values that may each be off by some 1e-7
    ledger.expect_relative("probe, relative", text(name, "[", i, "]"), found[i], stored.at("probe")[i], 1e-8);
  ::testing::Test::RecordProperty("values that differ in a bit",
                                  static_cast<int>(mine.ne(theirs).sum().item<int64_t>()));
}

INSTANTIATE_TEST_SUITE_P(Tables, SinCosPositions,
                         ::testing::Values(Table{4, 48}, Table{4, 24}, Table{14, 192}, Table{14, 384}, Table{14, 768},
                                           Table{24, 768}),
                         [](const auto& each) {
                           return text(each.param.grid, "x", each.param.grid, "_", each.param.width);
                         });

TEST(SinCosPositionTable, PutsTheRowFirstAndLeavesTheClassTokenZero) {
  const at::Tensor table = sin_cos_positions(14, 768)[0];
  EXPECT_EQ(largest(table[0]), 0);
  const auto at = [&](int64_t token, int64_t channel) { return table[token][channel].item<float>(); };
  // Check values of cae.md section 1.2; token 2 is row 0 column 1, token 15 is row 1 column 0.
  const std::pair<int64_t, double> second[] = {{0, 0},          {192, 1},        {384, 0.841471},
                                               {385, 0.815251}, {576, 0.540302}, {577, 0.579108}};
  for (const auto& [channel, value] : second) EXPECT_NEAR(at(2, channel), value, 1e-6);
  const std::pair<int64_t, double> fifteenth[] = {{0, 0.841471},   {1, 0.815251}, {192, 0.540302},
                                                  {193, 0.579108}, {384, 0},      {576, 1}};
  for (const auto& [channel, value] : fifteenth) EXPECT_NEAR(at(15, channel), value, 1e-6);
}

TEST(SinCosPositionTable, RefusesAWidthThatDoesNotSplitInFour) { EXPECT_THROW(sin_cos_positions(4, 6), Error); }

}  // namespace
}  // namespace lacuna
