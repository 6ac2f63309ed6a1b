// Rotary positions: the table's angles, and what turning keeps and makes relative.

#include "nn/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

TEST(RotaryTable, HasAnAngleForEachPairRowsFirst) {
  const at::Tensor table = rotary_table(4, 8, 8);  // two bands: 1 and 10000^-1/2
  EXPECT_EQ(table.sizes(), (at::IntArrayRef{2, 16, 8}));
  const double row = 2.0 / 4 * 8, column = 3.0 / 4 * 8;
  const std::vector<double> angles = {row, row, row / 100, row / 100, column, column, column / 100, column / 100};
  for (int64_t k = 0; k < 8; ++k) {
    EXPECT_NEAR(table[0][2 * 4 + 3][k].item<float>(), std::sin(angles[static_cast<size_t>(k)]), 1e-6) << k;
    EXPECT_NEAR(table[1][2 * 4 + 3][k].item<float>(), std::cos(angles[static_cast<size_t>(k)]), 1e-6) << k;
  }
  EXPECT_THROW(rotary_table(4, 8, 6), Error);
}

TEST(Rotation, LeavesTokensThatAreNoPatchesAndTurnsThoseNamed) {
  const at::Tensor table = rotary_table(4, 4, 8);
  const at::Tensor all = rotation_of(table, 2, {}, 1, 2);
  EXPECT_EQ(all.sizes(), (at::IntArrayRef{2, 1, 19, 8}));
  const at::Tensor rows = torch::tensor({0, 5, 15, 16 + 1, 16 + 2, 16 + 9});
  const at::Tensor some = rotation_of(table, 2, rows, 1, 2);
  EXPECT_EQ(some.sizes(), (at::IntArrayRef{2, 2, 6, 8}));
  EXPECT_TRUE(some.select(1, 0).slice(1, 1, 4).equal(all.select(1, 0).index_select(1, torch::tensor({1, 6, 16}))));
  EXPECT_TRUE(some.select(1, 1).slice(1, 1, 4).equal(all.select(1, 0).index_select(1, torch::tensor({2, 3, 10}))));
  const at::Tensor x = at::randn({2, 19, 24});
  const at::Tensor turned = rotated(x, 3, all);
  EXPECT_TRUE(turned.slice(1, 0, 2).equal(x.slice(1, 0, 2)));  // the class token, and the patch at the origin
  EXPECT_TRUE(turned.slice(1, 17).equal(x.slice(1, 17)));
  EXPECT_FALSE(turned.slice(1, 2, 17).equal(x.slice(1, 2, 17)));
}

TEST(Rotation, KeepsLengthsAndMakesScoresDependOnOffsetsAlone) {
  const at::Tensor table = rotary_table(6, 6, 16).to(at::kDouble);
  const at::Tensor turn = rotation_of(table, 1, {}, 0, 0);
  const at::Tensor one = at::randn({1, 1, 16}, at::kDouble).expand({1, 36, 16});
  const at::Tensor other = at::randn({1, 1, 16}, at::kDouble).expand({1, 36, 16});
  const at::Tensor q = rotated(one, 1, turn)[0], k = rotated(other, 1, turn)[0];
  EXPECT_LE(deviation(at::linalg_vector_norm(q, 2, -1), at::linalg_vector_norm(one[0], 2, -1)), 1e-6);
  const at::Tensor scores = at::matmul(q, k.t());  // of equal vectors at all places
  const auto score = [&](int64_t from, int64_t to) { return scores[from][to].item<double>(); };
  EXPECT_NEAR(score(0, 8), score(14, 22), 1e-5);   // one row down, two columns right, from two places
  EXPECT_NEAR(score(21, 7), score(35, 21), 1e-5);  // the way back
  EXPECT_GT(std::abs(score(0, 8) - score(0, 13)), 1e-3);
}

}  // namespace
}  // namespace lacuna
