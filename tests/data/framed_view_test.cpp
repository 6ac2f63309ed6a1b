// Framing of images: the geometry that torchvision, timm, OpenCLIP and transformers compute, and the pixels.

#include "data/view/framed_view.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/view/augment.h"

namespace lacuna {
namespace {

Image pattern(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < 3 * width; ++x) image.row(y)[x] = static_cast<std::uint8_t>(31 * x + 17 * y + x * y);
  }
  return image;
}

bool equal(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && a.pixels == b.pixels;
}

struct Expected {
  int width, height, left, top;
};

void expect_geometry(int width, int height, int side, const Framing& framing, const Expected& expected) {
  const FramedGeometry found = framed_geometry(width, height, side, framing);
  EXPECT_EQ(found.width, expected.width);
  EXPECT_EQ(found.height, expected.height);
  EXPECT_EQ(found.left, expected.left);
  EXPECT_EQ(found.top, expected.top);
}

TEST(FramedView, HasTheGeometryOfTheProgramsItFollows) {
  // 45 x 33 resized to a short side of 33: an odd margin of 12 - 1, where the programs round differently.
  expect_geometry(44, 33, 33, {}, {44, 33, 6, 0});                   // round(5.5) to even
  expect_geometry(44, 33, 33, {.truncates = true}, {44, 33, 5, 0});  // transformers
  expect_geometry(100, 50, 224, {.resized = 256}, {512, 256, 144, 16});
  expect_geometry(100, 50, 224, {.fit = Fit::kSquash}, {224, 224, 0, 0});
  expect_geometry(100, 50, 224, {.fit = Fit::kSquash, .resized = 256}, {256, 256, 16, 16});
  expect_geometry(100, 50, 224, {.fit = Fit::kPad}, {224, 112, 0, -56});
  expect_geometry(100, 50, 224, {.fit = Fit::kPad, .resized = 256}, {256, 128, 16, -48});
  expect_geometry(30, 7, 12, {.fit = Fit::kPad}, {12, 3, 0, -4});  // 4.5 rows above, rounded down
}

TEST(FramedView, CropsAsTheEvaluationTransformDoes) {
  const Image image = pattern(61, 40);
  EXPECT_TRUE(
      equal(framed_view(image, 24, Kernel::kBicubic, {.resized = 27}), center_view(image, 24, 27, Kernel::kBicubic)));
  EXPECT_TRUE(equal(framed_view(image, 24, Kernel::kBilinear, {}), center_view(image, 24, 24, Kernel::kBilinear)));
}

TEST(FramedView, SquashesTheWholeImage) {
  const Image image = pattern(61, 40);
  EXPECT_TRUE(
      equal(framed_view(image, 24, Kernel::kBicubic, {.fit = Fit::kSquash}), resize(image, 24, 24, Kernel::kBicubic)));
}

TEST(FramedView, PadsWithTheGroundItIsGiven) {
  const Image image = pattern(24, 12);
  const Image framed = framed_view(image, 24, Kernel::kBicubic, {.fit = Fit::kPad, .fill = {9, 8, 7}});
  EXPECT_EQ(framed.row(5)[0], 9);
  EXPECT_EQ(framed.row(23)[3 * 23 + 2], 7);
  for (int y = 0; y < 12; ++y) EXPECT_TRUE(std::equal(image.row(y), image.row(y) + 3 * 24, framed.row(y + 6))) << y;
}

TEST(FramedView, RefusesWhatWouldVanish) {
  EXPECT_THROW(framed_view(pattern(4000, 1), 24, Kernel::kBicubic, {.fit = Fit::kPad}), Error);
}

}  // namespace
}  // namespace lacuna
