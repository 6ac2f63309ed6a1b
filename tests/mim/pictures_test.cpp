#include "mim/pictures.h"

#include <gtest/gtest.h>

#include "io/files.h"
#include "mim/composition.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

Image gray(int side, std::uint8_t value) {
  Image out(side, side);
  std::fill(out.pixels.begin(), out.pixels.end(), value);
  return out;
}

double brightness(const std::array<std::uint8_t, 3>& c) { return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]; }

TEST(Heat, GrowsBrighterWithTheValue) {
  for (int i = 1; i <= 100; ++i) EXPECT_GT(brightness(heat(i / 100.0)), brightness(heat((i - 1) / 100.0))) << i;
}

TEST(Heat, ClampsWhatLiesOutside) {
  EXPECT_EQ(heat(-3), heat(0));
  EXPECT_EQ(heat(7), heat(1));
}

TEST(PanelRow, PutsPanelsSideBySideWithMargins) {
  const std::vector<Image> panels = {gray(4, 10), gray(4, 20)};
  const Image row = panel_row(panels, 3);
  EXPECT_EQ(row.width, 2 * 4 + 3 * 3);
  EXPECT_EQ(row.height, 4 + 3);
  EXPECT_EQ(row.row(0)[0], 255);
  EXPECT_EQ(row.row(0)[3 * 3], 10);
  EXPECT_EQ(row.row(3)[3 * (3 + 4 + 3)], 20);
  EXPECT_EQ(row.row(0)[3 * (3 + 4)], 255);
  EXPECT_EQ(row.row(4)[3 * 3], 255);
}

TEST(PictureWriter, DrawsOneRowAnImageAndLeavesTheTaskAlone) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Composition c;
  c.mask = {.kind = MaskKind::kRandom, .ratio = 0.5};
  c.student.vit = named_vit("micro");
  c.student.vit.depth = 1;
  c.completer = {.kind = CompleterKind::kRegressor, .depth = 1, .heads = 3};
  c.objectives = {ObjectiveConfig{}};
  c.objectives[0].teacher.path = golden_path("models/clip_hf/quickgelu");
  c.objectives[0].distill.region = {.kind = RegionKind::kAll};
  const auto method = build_method(c, nullptr, 0);
  const TemporaryFolder folder;
  PictureWriter writer(*method, {{gray(32, 40)}, {gray(32, 90)}}, folder / "pictures", 3, at::kCPU);
  EXPECT_TRUE(writer.run(5).empty());
  writer.run(6);
  const Image drawn = load_image(folder / "pictures/step-5.png");
  EXPECT_EQ(drawn.width, 4 * 160 + 5 * 6);
  EXPECT_EQ(drawn.height, 2 * (160 + 6));
  EXPECT_EQ(drawn.row(0)[3 * 6], 40) << "the first panel is the input";
  int64_t hidden = 0;
  for (int cell = 0; cell < 16; ++cell)
    hidden += drawn.row(40 * (cell / 4) + 20)[3 * (6 + 160 + 6 + 40 * (cell % 4) + 20)] == 110;
  EXPECT_EQ(hidden, 8) << "the second panel hides what the mask hides";
  EXPECT_EQ(read_file(folder / "pictures/step-5.png", 1 << 24), read_file(folder / "pictures/step-6.png", 1 << 24))
      << "the masks of the pictures stay the same";
}

}  // namespace
}  // namespace lacuna
