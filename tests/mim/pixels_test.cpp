#include "mim/pixels.h"

#include <gtest/gtest.h>

#include <string>

#include "mim/normalize.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr PixelOrder kBoth[] = {PixelOrder::kRowColumnColor, PixelOrder::kColorRowColumn};
constexpr NormalizeConfig kPerPatch{.kind = NormalizeKind::kLayerNorm};

class Tables {
 public:
  explicit Tables(const std::string& name) : file_(golden_path("unified/" + name + ".safetensors")) {}
  at::Tensor at(const std::string& key) const { return to_tensor(file_.at(key)); }

 private:
  TensorFile file_;
};

TEST(PatchPixels, CutsInRasterOrder) {
  const at::Tensor image = at::arange(2 * 3 * 4 * 4, at::kDouble).view({2, 3, 4, 4});
  const auto value = [&](int64_t b, int64_t c, int64_t y, int64_t x) { return image[b][c][y][x].item<double>(); };
  for (const PixelOrder order : kBoth) {
    const at::Tensor patches = patch_pixels(image, 2, order);
    ASSERT_EQ(patches.sizes(), (std::vector<int64_t>{2, 4, 12}));
    for (int64_t i = 0; i < patches.numel(); ++i) {
      const int64_t k = i % 12, patch = i / 12 % 4, b = i / 48;
      const bool last = order == PixelOrder::kRowColumnColor;
      const int64_t c = last ? k % 3 : k / 4, y = last ? k / 6 : k / 2 % 2, x = last ? k / 3 % 2 : k % 2;
      EXPECT_EQ(patches.view({-1})[i].item<double>(), value(b, c, patch / 2 * 2 + y, patch % 2 * 2 + x));
    }
  }
  EXPECT_THROW(patch_pixels(image, 3, PixelOrder::kRowColumnColor), Error);
  const at::Tensor two = patch_pixels(image.slice(1, 0, 2), 2, PixelOrder::kColorRowColumn);
  EXPECT_TRUE(two.equal(patch_pixels(image, 2, PixelOrder::kColorRowColumn).slice(2, 0, 8)));
  EXPECT_THROW(patch_pixels(image.slice(2, 0, 2), 2, PixelOrder::kRowColumnColor), std::logic_error);
}

TEST(PatchPixels, OrdersAgreeWithTheTable) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/pixel_targets.safetensors");
  const Tables tables("tables/pixel_targets");
  const at::Tensor wide = tables.at("order.image");  // [3,32,48]: two squares that overlap cover its 2 x 3 patches
  const auto expect = [&](PixelOrder order, const char* key) {
    const at::Tensor left = patch_pixels(wide.slice(2, 0, 32).unsqueeze(0), 16, order)[0];
    const at::Tensor right = patch_pixels(wide.slice(2, 16).unsqueeze(0), 16, order)[0];
    const at::Tensor found = at::stack({left[0], left[1], right[1], left[2], left[3], right[3]});
    EXPECT_TRUE(found.equal(tables.at(key))) << key;
    EXPECT_TRUE(left[1].equal(right[0]) && left[3].equal(right[2]));
  };
  expect(PixelOrder::kRowColumnColor, "order.row_column_colour");
  expect(PixelOrder::kColorRowColumn, "order.colour_row_column");
}

TEST(PatchPixels, StandardisedAsTheTable) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/pixel_targets.safetensors");
  const Tables tables("tables/pixel_targets");
  Ledger ledger;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const std::string group = dtype == at::kDouble ? "float64" : "float32";
    const double limit = dtype == at::kDouble ? 1e-12 : 1e-6;
    const at::Tensor image = tables.at("norm.formula_image").unsqueeze(0).to(dtype);
    const at::Tensor patches = patch_pixels(image, 16, PixelOrder::kRowColumnColor);
    const NormalizeConfig unbiased{.kind = NormalizeKind::kLayerNorm, .unbiased = true};
    ledger.expect_close(group, "biased", normalize(patches, kPerPatch)[0], tables.at("norm.biased"), limit);
    ledger.expect_close(group, "unbiased", normalize(patches, unbiased)[0], tables.at("norm.unbiased"), limit);
    ledger.expect_close(group, "per colour", standardize_colors(patches, PixelOrder::kRowColumnColor)[0],
                        tables.at("norm.per_colour_biased_eps1e-5"), limit);
    const at::Tensor error =
        (normalize(patches, unbiased)[0] - tables.at("norm.prediction").to(dtype)).square().mean(1);
    const at::Tensor mask = tables.at("norm.mask").to(dtype);
    ledger.expect_close(group, "MAE's loss", ((error * mask).sum() / mask.sum()).view({1}), tables.at("norm.loss"),
                        limit);
  }
  const Json facts = golden_json("unified/tables/pixel_targets.json").at("patch1");
  const at::Tensor patch =
      patch_pixels(tables.at("norm.formula_image").unsqueeze(0), 16, PixelOrder::kRowColumnColor)[0][1];
  EXPECT_NEAR(patch.mean().item<double>(), facts.at("mean").get<double>(), 1e-13);
  EXPECT_NEAR(patch.var().item<double>(), facts.at("unbiased_variance").get<double>(), 1e-13);
}

TEST(PatchPixels, StandardisesEachColourInEitherOrder) {
  const at::Tensor images = unit_tensor("images", {2, 3, 8, 8}) * 3 + 1;
  const auto colors_last = [](const at::Tensor& x, PixelOrder order) {
    return order == PixelOrder::kRowColumnColor ? x.unflatten(2, {-1, 3}) : x.unflatten(2, {3, -1}).transpose(2, 3);
  };
  at::Tensor standardized[2];
  for (size_t i = 0; i < 2; ++i) {
    standardized[i] = colors_last(standardize_colors(patch_pixels(images, 4, kBoth[i]), kBoth[i], 1e-300), kBoth[i]);
    EXPECT_LT(largest(standardized[i].mean(2)), 1e-12);
    EXPECT_LT(largest(standardized[i].square().mean(2) - 1), 1e-12);
  }
  EXPECT_LT(deviation(standardized[0], standardized[1]), 1e-12);
}

TEST(PatchPixels, TargetsOfTheUnifiedRows) {
  LACUNA_NEEDS_SHARED("golden/unified/rows");
  struct Row {
    const char *name, *image;
    PixelOrder order;
    NormalizeConfig normalize;
  };
  const NormalizeConfig keep{.kind = NormalizeKind::kKeep};
  const NormalizeConfig unbiased{.kind = NormalizeKind::kLayerNorm, .unbiased = true};
  const Row rows[] = {{"mae", "image", PixelOrder::kRowColumnColor, unbiased},
                      {"mae_raw_pixels", "image", PixelOrder::kRowColumnColor, keep},
                      {"maskdistill.teacher_pixels", "image", PixelOrder::kRowColumnColor, unbiased},
                      {"simmim", "large_image", PixelOrder::kColorRowColumn, keep}};
  const Tables inputs("rows/inputs"), mae("rows/mae");
  Ledger ledger;
  for (const Row& row : rows) {
    const Tables stored(text("rows/", row.name));
    const at::Tensor mask = stored.at("input.mask").to(at::kBool);
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      const at::Tensor patches = patch_pixels(inputs.at(row.image).to(dtype), 16, row.order);
      ledger.expect_close(dtype == at::kDouble ? "float64" : "float32", row.name,
                          normalize(patches, row.normalize).index({mask}), stored.at("teacher.target"),
                          dtype == at::kDouble ? 1e-12 : 1e-6);
    }
  }
  EXPECT_TRUE(patch_pixels(inputs.at("image"), 16, PixelOrder::kRowColumnColor).equal(mae.at("teacher.raw")));
}

}  // namespace
}  // namespace lacuna
