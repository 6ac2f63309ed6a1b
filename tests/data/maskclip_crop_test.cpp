// Crops of the CLIP recipe (scale 0.5 to 1, no flip) and the geometry of its evaluation, against golden/maskclip.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/view/augment.h"
#include "io/files.h"
#include "io/tensor/tensor_file.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using Json = nlohmann::json;

std::filesystem::path golden(const char* name) { return testing::shared_folder() / "golden/maskclip" / name; }

template <class T>
std::vector<T> values(const TensorFile& file, const std::string& key) {
  const TensorInfo& tensor = file.at("crop." + key);
  if (dtype_size(tensor.dtype) != sizeof(T)) throw std::runtime_error(key + " has another type");
  std::vector<T> out(tensor.data.size() / sizeof(T));
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

AugmentConfig clip_recipe() {
  AugmentConfig config;
  config.crop_min = 0.5;
  config.crop_max = 1.0;
  return config;
}

class MaskClipCrop : public ::testing::Test {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/augmentation.safetensors"); }
};

TEST_F(MaskClipCrop, IsTheReferencesFromTheReferencesNumbers) {
  const TensorFile file(golden("augmentation.safetensors"));
  ASSERT_EQ(file.names().size(), 6u);
  const auto tries = values<double>(file, "attempt_uniforms");           // [96,10,2] area, aspect
  const auto used = values<std::int64_t>(file, "attempts_used");         // [96]
  const auto fallback = values<std::int64_t>(file, "fallback");          // [96]
  const auto side = values<std::int64_t>(file, "image_wh");              // [96,2]
  const auto place = values<double>(file, "position_uniforms");          // [96,2] top, left
  const auto box = values<std::int64_t>(file, "top_left_height_width");  // [96,4]
  ASSERT_EQ(used.size(), 96u);
  int fallbacks = 0;
  for (std::size_t row = 0; row < used.size(); ++row) {
    std::vector<double> numbers(tries.begin() + static_cast<std::ptrdiff_t>(row * 20),
                                tries.begin() + static_cast<std::ptrdiff_t>(row * 20) + 2 * used[row]);
    fallbacks += fallback[row] != 0 ? 1 : 0;
    if (fallback[row] == 0) numbers.insert(numbers.end(), {place[row * 2], place[row * 2 + 1]});
    std::size_t taken = 0;
    const Box found = draw_crop(static_cast<int>(side[row * 2]), static_cast<int>(side[row * 2 + 1]), clip_recipe(),
                                [&] { return numbers.at(taken++); });
    EXPECT_EQ(found.top, box[row * 4]) << row;
    EXPECT_EQ(found.left, box[row * 4 + 1]) << row;
    EXPECT_EQ(found.height, box[row * 4 + 2]) << row;
    EXPECT_EQ(found.width, box[row * 4 + 3]) << row;
    EXPECT_EQ(taken, numbers.size()) << row;
  }
  EXPECT_GT(fallbacks, 0);
}

TEST_F(MaskClipCrop, HasTheReferencesDistribution) {
  constexpr int kDraws = 20000;
  const Json table = read_json(golden("augmentation.json"));
  int compared = 0;
  for (const auto& [name, row] : table.at("per_size").items()) {
    const std::size_t cross = name.find('x');
    const int width = std::stoi(name.substr(0, cross)), height = std::stoi(name.substr(cross + 1));
    double area = 0, aspect = 0;
    for (int draw = 0; draw < kDraws; ++draw) {
      Rng rng(11, Purpose::kTest, 0, static_cast<std::uint64_t>(draw));
      const Box box = draw_crop(width, height, clip_recipe(), rng);
      area += static_cast<double>(box.width) * box.height / (static_cast<double>(width) * height) / kDraws;
      aspect += std::log(static_cast<double>(box.width) / box.height) / kDraws;
    }
    // Two samples of the same size: sigma of the difference of their means; rounding where all crops are alike.
    for (const char* reference : {"torchvision", "own_rule_float64"}) {
      const Json& wanted = row.at(reference);
      const auto sigma = [&](const char* key) {
        return wanted.at(key).get<double>() * std::sqrt(2.0 / kDraws) + 1e-12;
      };
      EXPECT_LE(std::abs(area - wanted.at("area_fraction_mean").get<double>()), 4 * sigma("area_fraction_std"))
          << name << " " << reference;
      EXPECT_LE(std::abs(aspect - wanted.at("log_aspect_mean").get<double>()), 4 * sigma("log_aspect_std"))
          << name << " " << reference;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 8);
}

TEST_F(MaskClipCrop, EvaluationLooksWhereTheReferenceDoes) {
  const Json table = read_json(golden("augmentation.json"));
  ASSERT_EQ(table.at("eval_geometry").size(), 68u);
  for (const auto& row : table.at("eval_geometry")) {
    const CenterGeometry found = center_geometry(row[0], row[1], row[2], row[2]);
    EXPECT_EQ(found.width, row[3]) << row;
    EXPECT_EQ(found.height, row[4]) << row;
    EXPECT_EQ(found.top, row[5]) << row;
    EXPECT_EQ(found.left, row[6]) << row;
  }
}

}  // namespace
}  // namespace lacuna
