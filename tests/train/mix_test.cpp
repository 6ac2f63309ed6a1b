#include "train/mix.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/files.h"
#include "io/tensor/tensor_file.h"
#include "nn/weights/weights.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using nlohmann::json;
using testing::shared_folder;

// The draws of one case, an entry for each image.
std::vector<Mix> mixes_of(const json& row, int64_t batch) {
  const auto for_row = [](const json& value, int64_t i) { return value.is_array() ? value.at(i) : value; };
  const int64_t draws = row.at("mode") == "batch" ? 1 : row.at("mode") == "pair" ? batch / 2 : batch;
  std::vector<Mix> drawn;
  std::size_t box = 0;
  for (int64_t i = 0; i < draws; ++i) {
    Mix mix{.own = for_row(row.at("lam"), i)};
    if (for_row(row.at("use_cutmix"), i).get<bool>()) {
      const json& entry = row.at("boxes").at(box++);
      const json& edges = entry.at("box_yl_yh_xl_xh");
      const int top = edges.at(0), bottom = edges.at(1), left = edges.at(2), right = edges.at(3);
      mix = {.own = entry.at("lam_after"), .box = Box{left, top, right - left, bottom - top}};
    }
    drawn.push_back(mix);
  }
  std::vector<Mix> mixes;
  for (int64_t i = 0; i < batch; ++i) {
    mixes.push_back(drawn[static_cast<std::size_t>(draws == 1 ? 0 : i < draws ? i : batch - 1 - i)]);
  }
  return mixes;
}

TEST(Mix, ImagesAndTargetsAreTheReferences) {
  LACUNA_NEEDS_SHARED("golden/preprocess/mix.json");
  const TensorFile golden(shared_folder() / "golden/preprocess/mix.safetensors");
  const json table = read_json(shared_folder() / "golden/preprocess/mix.json");
  const at::Tensor images = to_tensor(golden.at("input.images")), labels = to_tensor(golden.at("input.labels"));
  int compared = 0;
  for (const json& row : table.at("mixup")) {
    const std::string key = row.at("key");
    const std::vector<Mix> mixes = mixes_of(row, images.size(0));
    const at::Tensor mixed = mix_images(images, mixes);
    const at::Tensor targets = mix_targets(labels, mixes, row.at("num_classes"), row.at("label_smoothing"));
    EXPECT_LE((mixed - to_tensor(golden.at("output.images." + key))).abs().max().item<double>(), 1e-6) << key;
    EXPECT_LE((targets - to_tensor(golden.at("output.targets." + key))).abs().max().item<double>(), 1e-6) << key;
    ++compared;
  }
  EXPECT_EQ(compared, 12);
}

TEST(Mix, LeavesItsInputAlone) {
  const at::Tensor images = at::rand({4, 3, 8, 8}), before = images.clone();
  mix_images(images, std::vector<Mix>(4, Mix{.own = 0.5, .box = Box{1, 1, 3, 3}}));
  EXPECT_TRUE(images.equal(before));
}

TEST(Mix, TargetsOfUnmixedImagesAreOneHotButForTheirSmoothing) {
  const at::Tensor labels = at::tensor(std::vector<int64_t>{2, 0});
  const at::Tensor plain = mix_targets(labels, {}, 4, 0.0), smooth = mix_targets(labels, {}, 4, 0.1);
  EXPECT_TRUE(plain.equal(at::tensor(std::vector<float>{0, 0, 1, 0, 1, 0, 0, 0}).view({2, 4})));
  EXPECT_NEAR(smooth[0][2].item<double>(), 0.925, 1e-6);
  EXPECT_NEAR(smooth.sum(1)[1].item<double>(), 1.0, 1e-6);
}

TEST(Erase, FillsTheBoxWithStandardNoiseAndNothingElse) {
  at::Tensor image = at::full({3, 40, 60}, 7.0f);
  Rng rng(1, Purpose::kTest);
  erase(image, std::vector<Box>{{5, 3, 50, 30}}, rng);
  const at::Tensor inside = image.slice(1, 3, 33).slice(2, 5, 55);
  EXPECT_EQ((image == 7.0f).sum().item<int64_t>(), 3 * (40 * 60 - 30 * 50));
  const double count = 3 * 30 * 50;
  EXPECT_LT(std::abs(inside.mean().item<double>()) * std::sqrt(count), 4.0);
  EXPECT_LT(std::abs(inside.var().item<double>() - 1.0) / std::sqrt(2.0 / count), 4.0);
}

}  // namespace
}  // namespace lacuna
