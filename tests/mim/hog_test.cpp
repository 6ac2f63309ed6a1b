#include "mim/hog.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// The definition, pixel by pixel, for one image and without a window: [3,bins,S/cell,S/cell].
at::Tensor slow_hog(const at::Tensor& image, int64_t bins, int64_t cell) {
  const int64_t side = image.size(1), cells = side / cell;
  const at::Tensor out = at::zeros({3, bins, cells, cells}, at::kDouble);
  const auto pixels = image.to(at::kDouble).contiguous();
  const auto in = pixels.accessor<double, 3>();
  auto sums = out.accessor<double, 4>();
  const auto reflect = [side](int64_t i) { return i < 0 ? -i : i >= side ? 2 * side - 2 - i : i; };
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x) {
        const auto at = [&](int64_t dy, int64_t dx) { return in[c][reflect(y + dy)][reflect(x + dx)]; };
        double gx = 0, gy = 0;
        for (int64_t t = -1; t <= 1; ++t) {
          const double weight = t == 0 ? 2 : 1;
          gx += weight * (at(t, -1) - at(t, 1));
          gy += weight * (at(-1, t) - at(1, t));
        }
        const auto turn = static_cast<int64_t>(std::floor(std::atan2(gx, gy) / M_PI * static_cast<double>(bins)));
        sums[c][(turn % bins + bins) % bins][y / cell][x / cell] += std::hypot(gx, gy);
      }
    }
  }
  return out / at::linalg_vector_norm(out, 2, 1, true).clamp_min(1e-12);
}

at::Tensor integer_image(const std::string& name, at::IntArrayRef sizes, int levels) {
  return at::floor((unit_tensor(name, sizes) + 1) * (levels / 2.0));
}

TEST(Hog, FollowsItsDefinition) {
  for (const int levels : {2, 4, 256}) {  // few levels make many gradient components exactly zero
    const at::Tensor images = integer_image(text("levels", levels), {2, 3, 24, 24}, levels);
    for (const auto& [bins, cell] : {std::pair{9, 8}, std::pair{6, 4}, std::pair{9, 12}}) {
      const at::Tensor found = hog(images, bins, cell);
      for (int64_t b = 0; b < 2; ++b) EXPECT_LT(deviation(found[b], slow_hog(images[b], bins, cell)), 1e-12) << levels;
      EXPECT_LT(deviation(hog(images.to(at::kFloat), bins, cell), found), 1e-6) << levels;
    }
  }
}

TEST(Hog, AnEdgeVotesForTheDirectionItsArgumentsSay) {
  // Columns fall: gx > 0 = gy, half a turn of pi / 2, the middle bin. Rows fall or rise: gx = 0, bin 0 both times.
  const at::Tensor ramp = at::arange(16, at::kFloat);
  const at::Tensor down_columns = (-ramp).expand({1, 3, 16, 16}), up_columns = ramp.expand({1, 3, 16, 16});
  for (const at::Tensor& image : {down_columns, up_columns}) {
    const at::Tensor middle = hog(image).select(2, 4);
    EXPECT_TRUE(middle.eq(1).all().item<bool>());
    EXPECT_TRUE(hog(image.transpose(2, 3)).select(2, 0).eq(1).all().item<bool>());
  }
}

TEST(Hog, ScaleAndOffsetOfAColourCancel) {
  const at::Tensor images = unit_tensor("images", {1, 3, 32, 32});
  const at::Tensor scale = torch::tensor({0.5, 2.0, 4.0}, at::kDouble).view({1, 3, 1, 1});
  EXPECT_LT(deviation(hog(images * scale + 1), hog(images)), 1e-12);
}

TEST(Hog, AFlatImageGivesZerosWhateverItsValue) {
  for (const double value : {0.0, 0.1, -1.7320508, 255.0}) {
    EXPECT_EQ(largest(hog(at::full({1, 3, 16, 16}, value, at::kFloat))), 0) << value;
  }
}

TEST(Hog, EightBitPixelsAreTakenAsTheyAre) {
  const at::Tensor images = integer_image("bytes", {1, 3, 16, 16}, 256);
  EXPECT_TRUE(hog(images.to(at::kByte)).equal(hog(images.to(at::kFloat))));
}

TEST(Hog, TokensAreOrderedByColourBinRowColumn) {
  const at::Tensor stored = at::arange(2 * 3 * 9 * 4 * 4, at::kDouble).view({2, 3, 9, 4, 4});
  const at::Tensor tokens = hog_tokens(stored, 16, 8);
  ASSERT_EQ(tokens.sizes(), (std::vector<int64_t>{2, 4, 108}));
  for (const int64_t k : {0, 1, 2, 5, 36, 107}) {
    const int64_t c = k / 36, bin = k / 4 % 9, dy = k / 2 % 2, dx = k % 2;
    for (int64_t patch = 0; patch < 4; ++patch) {
      EXPECT_EQ(tokens[1][patch][k].item<double>(),
                stored[1][c][bin][patch / 2 * 2 + dy][patch % 2 * 2 + dx].item<double>());
    }
  }
}

TEST(Hog, RefusesWhatDoesNotDivide) {
  const at::Tensor images = at::zeros({1, 3, 24, 24});
  EXPECT_THROW(hog(images, 9, 7), Error);
  EXPECT_THROW(hog(images, 9, 8, 16), Error);
  EXPECT_THROW(hog_tokens(hog(images), 12, 8), Error);
  EXPECT_THROW(hog_tokens(hog(images), 16, 8), Error);  // 3 cells, 2 per patch
  EXPECT_THROW(hog(images.slice(1, 0, 1)), std::logic_error);
}

// ---- Parity (golden/unified) ----------------------------------------------------------------------------------------

TEST(HogParity, RealCrops) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/hog.safetensors");
  const TensorFile file(golden_path("unified/tables/hog.safetensors"));
  Ledger ledger;
  for (const char* crop : {"cue_conflict_airplane", "camvid_street", "coco_photo"}) {
    const at::Tensor image = to_tensor(file.at(text(crop, ".image"))).permute({2, 0, 1}).unsqueeze(0);
    for (const int window : {0, 16}) {
      const at::Tensor stored = to_tensor(file.at(text(crop, ".hog.window", window)));
      const at::Tensor tokens = to_tensor(file.at(text(crop, ".tokens.window", window)));
      for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
        const std::string group = dtype == at::kDouble ? "float64" : "float32";
        const double limit = dtype == at::kDouble ? 1e-12 : 1e-6;
        const at::Tensor found = hog(image.to(dtype), 9, 8, window);
        ledger.expect_close(group, text(crop, " histogram ", window), found[0], stored, limit);
        ledger.expect_close(group, text(crop, " tokens ", window), hog_tokens(found, 16, 8)[0], tokens, limit);
      }
    }
  }
}

at::Tensor formula_image() {  // maskdistill.md section 8.2
  const at::Tensor i = at::arange(224, at::kDouble), c = at::arange(3, at::kDouble).view({3, 1, 1});
  const at::Tensor bow = (i - 60.3).square().view({224, 1}) + 1.7 * (i - 130.7).square();
  return at::sin(.0007 * bow + .9 * c).unsqueeze(0);
}

TEST(HogParity, TheFormulaImage) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/hog.json");
  const Json facts = golden_json("unified/tables/hog.json").at("formula_224");
  Ledger ledger;
  for (const int window : {0, 16}) {
    const Json& stored = facts.at(text("window", window));
    const at::Tensor tokens = hog_tokens(hog(formula_image(), 9, 8, window), 16, 8)[0];
    ASSERT_EQ(tokens.sizes(), (std::vector<int64_t>{196, 108}));
    const auto list = [&](const char* key) {
      return torch::tensor(stored.at(key).get<std::vector<double>>(), at::kDouble);
    };
    const auto near = [&](const char* key, const at::Tensor& found) {
      ledger.expect_relative("float64", key, found.item<double>(), stored.at(key).get<double>(), 1e-12);
    };
    near("sum", tokens.sum());
    near("sumsq", tokens.square().sum());
    near("first", tokens[0][0]);
    near("t02", tokens[0][2]);
    const at::Tensor by_bin = tokens.view({196, 3, 9, 4});
    ledger.expect_close("float64", "mean per channel", by_bin.mean({0, 2, 3}), list("mean_per_channel"), 1e-12);
    ledger.expect_close("float64", "mass per bin", by_bin.sum({0, 1, 3}), list("mass_per_bin"), 1e-10);
  }
}

TEST(HogParity, TargetsOfTheUnifiedRows) {
  LACUNA_NEEDS_SHARED("golden/unified/rows");
  const at::Tensor image = to_tensor(TensorFile(golden_path("unified/rows/inputs.safetensors")).at("image"));
  Ledger ledger;
  for (const auto& [name, window] : {std::pair{"maskfeat", 0}, std::pair{"maskfeat_gaussian", 16}}) {
    const TensorFile row(golden_path(text("unified/rows/", name, ".safetensors")));
    const at::Tensor mask = to_tensor(row.at("input.mask")).to(at::kBool);
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      const std::string group = dtype == at::kDouble ? "float64" : "float32";
      const double limit = dtype == at::kDouble ? 1e-12 : 1e-6;
      const at::Tensor tokens = hog_tokens(hog(image.to(dtype), 9, 8, window), 16, 8);
      if (window == 0) ledger.expect_close(group, "all tokens", tokens, to_tensor(row.at("teacher.raw")), limit);
      ledger.expect_close(group, name, tokens.index({mask}), to_tensor(row.at("teacher.target")), limit);
    }
  }
}

}  // namespace
}  // namespace lacuna
