#include "data/view/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/view/render.h"
#include "io/files.h"
#include "support/golden_image.h"
#include "support/sha256.h"
#include "support/shared.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::golden_image;
using testing::kernel_named;
using testing::same_pixels;
using testing::sha256;
using testing::shared_folder;

fs::path goldens() { return shared_folder() / "golden/preprocess"; }
fs::path photographs() { return shared_folder() / "data/imagenet_samples/images"; }

Image textured(int width, int height) {
  Image image(width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  return image;
}

template <class T>
std::vector<T> values(const TensorFile& file, const std::string& key) {
  const TensorInfo& tensor = file.at(key);
  if (dtype_size(tensor.dtype) != sizeof(T)) throw std::runtime_error(key + " has another type");
  std::vector<T> out(tensor.data.size() / sizeof(T));
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

// ---- Crop

// The reference's uniform numbers, as double.
std::vector<double> uniforms(const TensorFile& file, const std::string& key) {
  if (file.at(key).dtype == DType::kF64) return values<double>(file, key);
  const std::vector<float> narrow = values<float>(file, key);
  return {narrow.begin(), narrow.end()};
}

// Feeds the numbers one reference draw used, in the order draw_crop asks for them.
void expect_reference_boxes(const TensorFile& file, const std::string& variant, std::size_t expected_rows) {
  const auto size = values<std::int32_t>(file, variant + ".image_size");
  const auto scale = values<double>(file, variant + ".scale");
  const auto area = uniforms(file, variant + ".u_area");
  const auto ratio = uniforms(file, variant + ".u_ratio");
  const auto top = uniforms(file, variant + ".u_top");
  const auto left = uniforms(file, variant + ".u_left");
  const auto attempts = values<std::int32_t>(file, variant + ".attempts");
  const auto fallback = values<std::uint8_t>(file, variant + ".fallback");
  const auto box = values<std::int32_t>(file, variant + ".box");
  ASSERT_EQ(attempts.size(), expected_rows);
  for (std::size_t row = 0; row < attempts.size(); ++row) {
    std::vector<double> numbers;
    for (std::size_t t = 0; t < static_cast<std::size_t>(attempts[row]); ++t) {
      numbers.push_back(area[row * 10 + t]);
      numbers.push_back(ratio[row * 10 + t]);
    }
    if (fallback[row] == 0) numbers.insert(numbers.end(), {top[row], left[row]});
    std::size_t used = 0;
    AugmentConfig config;
    config.crop_min = scale[row * 2];
    config.crop_max = scale[row * 2 + 1];
    const Box found = draw_crop(size[row * 2], size[row * 2 + 1], config, [&] { return numbers.at(used++); });
    const Box expected{box[row * 4 + 1], box[row * 4], box[row * 4 + 3], box[row * 4 + 2]};
    EXPECT_EQ(found, expected) << variant << " row " << row;
    EXPECT_EQ(used, numbers.size()) << variant << " row " << row;
  }
}

TEST(DrawCrop, GivesTheReferenceBoxFromTheReferenceNumbers) {
  LACUNA_NEEDS_SHARED("golden/preprocess/random_resized_crop.safetensors");
  const TensorFile file(goldens() / "random_resized_crop.safetensors");
  expect_reference_boxes(file, "torchvision", 500);
  expect_reference_boxes(file, "furnace", 300);
}

TEST(DrawCrop, HasTheReferenceDistribution) {
  LACUNA_NEEDS_SHARED("golden/preprocess/random_resized_crop.json");
  const nlohmann::json table = read_json(goldens() / "random_resized_crop.json");
  constexpr int kDraws = 4000;
  int compared = 0;
  for (const auto& row : table.at("statistics")) {
    const int width = row.at("image_size").at(0);
    const int height = row.at("image_size").at(1);
    AugmentConfig config;
    config.crop_min = row.at("scale").at(0);
    config.crop_max = row.at("scale").at(1);
    double sum = 0;
    for (int draw = 0; draw < kDraws; ++draw) {
      Rng rng(7, Purpose::kTest, 0, static_cast<std::uint64_t>(draw));
      const Box box = draw_crop(width, height, config, rng);
      ASSERT_TRUE(box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0);
      ASSERT_TRUE(box.left + box.width <= width && box.top + box.height <= height);
      sum += static_cast<double>(box.width) * box.height / (static_cast<double>(width) * height);
    }
    const double deviation = row.at("area_fraction_std").get<double>() / std::sqrt(kDraws);
    const double distance = std::abs(sum / kDraws - row.at("area_fraction_mean").get<double>());
    EXPECT_LE(distance, 4.0 * deviation + 1e-9) << row.at("image_size") << row.at("scale");
    ++compared;
  }
  EXPECT_EQ(compared, 24);
}

TEST(DrawCrop, NeverLeavesTheImageHoweverElongated) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 5000}, {5000, 1}, {2, 3}}) {
    for (std::uint64_t draw = 0; draw < 200; ++draw) {
      Rng rng(3, Purpose::kTest, 0, draw);
      const Box box = draw_crop(width, height, AugmentConfig{}, rng);
      ASSERT_GE(box.left, 0);
      ASSERT_GE(box.top, 0);
      ASSERT_GE(box.width, 1);
      ASSERT_GE(box.height, 1);
      ASSERT_LE(box.left + box.width, width);
      ASSERT_LE(box.top + box.height, height);
    }
  }
}

// ---- Colour and flip

ColorJitter jitter_of(const nlohmann::json& params) {
  ColorJitter jitter;
  jitter.brightness = params.at("brightness");
  jitter.contrast = params.at("contrast");
  jitter.saturation = params.at("saturation");
  std::size_t slot = 0;
  for (const int op : params.at("order")) {
    if (op != 3) jitter.order.at(slot++) = static_cast<ColorOp>(op);
  }
  return jitter;
}

TEST(ColorJitter, DrawsEveryOrderAndFactorsInRange) {
  std::array<int, 64> seen{};
  for (std::uint64_t sample = 0; sample < 600; ++sample) {
    Rng rng(1, Purpose::kTest, 0, sample);
    const ColorJitter jitter = draw_color_jitter(0.4, rng);
    for (const double factor : {jitter.brightness, jitter.contrast, jitter.saturation}) {
      EXPECT_GE(factor, 0.6);
      EXPECT_LT(factor, 1.4);
    }
    std::size_t code = 0;
    for (std::size_t i = 0; i < 3; ++i) code = code * 4 + static_cast<std::size_t>(jitter.order[i]);
    EXPECT_EQ(jitter.order[3], ColorOp::kHue);
    EXPECT_FALSE(jitter.hue);
    ++seen[code];
  }
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](int n) { return n > 60; }), 6);  // expected 100 each
}

TEST(ColorJitter, NeverDrawsANegativeFactor) {
  for (std::uint64_t sample = 0; sample < 100; ++sample) {
    Rng rng(1, Purpose::kTest, 0, sample);
    EXPECT_GE(draw_color_jitter(2.0, rng).brightness, 0.0);
  }
}

TEST(FlipHorizontal, IsItsOwnInverse) {
  for (const int width : {1, 2, 7}) {
    const Image image = textured(width, 3);
    Image flipped = image;
    flip_horizontal(flipped);
    for (int c = 0; c < 3; ++c) EXPECT_EQ(flipped.row(1)[c], image.row(1)[3 * (width - 1) + c]);
    flip_horizontal(flipped);
    EXPECT_TRUE(same_pixels(flipped, image));
  }
}

// ---- Views

TEST(TwoViews, EqualTheOfficialTransform) {
  LACUNA_NEEDS_SHARED("golden/preprocess/two_view.json");
  const TensorFile tensors(goldens() / "two_view.safetensors");
  const nlohmann::json table = read_json(goldens() / "two_view.json");
  int compared = 0;
  for (const auto& row : table.at("cases")) {
    const std::string key = row.at("key");
    Image image = row.contains("input") ? golden_image(tensors, row.at("input"))
                                        : load_image(photographs() / row.at("image_file").get<std::string>());
    if (row.contains("jitter")) color_jitter(image, jitter_of(row.at("jitter")));
    if (row.at("flip")) flip_horizontal(image);
    const auto& edges = row.at("box_top_left_h_w");
    const Box box{edges.at(1), edges.at(0), edges.at(3), edges.at(2)};
    const auto view = [&](const char* side, const char* kernel) {
      return resized_crop(image, box, row.at(side), row.at(side), kernel_named(row.at(kernel)));
    };
    const auto expected = [&](const std::string& role) {
      const std::string classic = "output_classic." + role + "." + key;
      return golden_image(tensors, tensors.has(classic) ? classic : "output." + role + "." + key);
    };
    EXPECT_TRUE(same_pixels(view("size", "kernel"), expected("student"))) << key;
    EXPECT_TRUE(same_pixels(view("second_size", "second_kernel"), expected("target"))) << key;
    ++compared;
  }
  RecordProperty("compared", compared);
  EXPECT_EQ(compared, static_cast<int>(table.at("cases").size()));
  EXPECT_GT(compared, 10);
}

TEST(TwoViews, EqualTheOfficialTransformOnPhotographs) {
  LACUNA_NEEDS_SHARED("golden/preprocess/two_view_hashes.tsv");
  std::ifstream table(goldens() / "two_view_hashes.tsv");
  std::string line;
  std::getline(table, line);
  int compared = 0;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string name, recipe, order, factors[3], kernel, pillow13[2], student, target;
    int width, height, flip, side, second_side;
    Box box;
    fields >> name >> recipe >> width >> height >> flip >> box.top >> box.left >> box.height >> box.width >> order >>
        factors[0] >> factors[1] >> factors[2] >> side >> second_side >> kernel >> pillow13[0] >> pillow13[1] >>
        student >> target;
    ASSERT_TRUE(fields) << line;
    Image image = load_image(photographs() / name);
    if (order != "-") {
      ColorJitter jitter{
          .brightness = std::stod(factors[0]), .contrast = std::stod(factors[1]), .saturation = std::stod(factors[2])};
      for (std::size_t i = 0; i < 3; ++i) jitter.order[i] = static_cast<ColorOp>(order.at(i) - '0');
      color_jitter(image, jitter);
    }
    if (flip != 0) flip_horizontal(image);
    EXPECT_EQ(sha256(resized_crop(image, box, side, side, Kernel::kBicubic).pixels), student) << line;
    EXPECT_EQ(sha256(resized_crop(image, box, second_side, second_side, kernel_named(kernel)).pixels), target) << line;
    ++compared;
  }
  EXPECT_EQ(compared, 40);
}

const std::array kTwoViews = {ViewSpec{32, Kernel::kBicubic, kImageNetStats},
                              ViewSpec{16, Kernel::kLanczos, kClipStats}};

TEST(RenderViews, IsAPureFunctionOfItsName) {
  const Image image = textured(90, 70);
  const AugmentConfig config;
  const auto first = render_views(image, config, kTwoViews, 5, 2, 11);
  const auto again = render_views(image, config, kTwoViews, 5, 2, 11);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].width, 32);
  EXPECT_EQ(first[1].height, 16);
  for (std::size_t v = 0; v < 2; ++v) EXPECT_TRUE(same_pixels(first[v], again[v]));
  EXPECT_FALSE(same_pixels(first[0], render_views(image, config, kTwoViews, 6, 2, 11)[0]));
  EXPECT_FALSE(same_pixels(first[0], render_views(image, config, kTwoViews, 5, 3, 11)[0]));
  EXPECT_FALSE(same_pixels(first[0], render_views(image, config, kTwoViews, 5, 2, 12)[0]));
}

TEST(RenderViews, ComposesTheDrawsOfItsStreams) {
  const Image image = textured(90, 70);
  const AugmentConfig config;
  int flips = 0;
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    Rng color(9, Purpose::kColor, 4, sample);
    Rng flip(9, Purpose::kFlip, 4, sample);
    Rng crop(9, Purpose::kCrop, 4, sample);
    Image expected = image;
    color_jitter(expected, draw_color_jitter(config.color_jitter, color));
    const bool flipped = flip.chance(config.flip);
    if (flipped) flip_horizontal(expected);
    flips += flipped ? 1 : 0;
    const Box box = draw_crop(90, 70, config, crop);
    const auto views = render_views(image, config, kTwoViews, 9, 4, sample);
    EXPECT_TRUE(same_pixels(views[0], resized_crop(expected, box, 32, 32, Kernel::kBicubic)));
    EXPECT_TRUE(same_pixels(views[1], resized_crop(expected, box, 16, 16, Kernel::kLanczos)));
  }
  EXPECT_GT(flips, 3);
  EXPECT_LT(flips, 17);
}

TEST(RenderViews, CropsAreIndependentDrawsAndTheFirstIsTheOneAlone) {
  const Image image = textured(90, 70);
  const AugmentConfig config;
  std::vector<ViewSpec> both(kTwoViews.begin(), kTwoViews.end());
  for (const ViewSpec& view : kTwoViews) {
    both.push_back(view);
    both.back().crop = 1;
  }
  int same = 0;
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const auto alone = render_views(image, config, kTwoViews, 9, 4, sample),
               crops = render_views(image, config, both, 9, 4, sample);
    ASSERT_EQ(crops.size(), 4u);
    for (std::size_t v = 0; v < 2; ++v) EXPECT_TRUE(same_pixels(crops[v], alone[v])) << sample;
    same += same_pixels(crops[2], crops[0]) ? 1 : 0;
    // Views of the second crop share its draws: asked for alone it is the same.
    const auto second = render_views(image, config, std::span(both).subspan(2), 9, 4, sample);
    for (std::size_t v = 0; v < 2; ++v) EXPECT_TRUE(same_pixels(second[v], crops[2 + v])) << sample;
    // It is no crop that a coming epoch or another sample gets.
    EXPECT_FALSE(same_pixels(crops[2], render_views(image, config, kTwoViews, 9, 5, sample)[0])) << sample;
    EXPECT_FALSE(same_pixels(crops[2], render_views(image, config, kTwoViews, 9, 4, sample + 1)[0])) << sample;
  }
  EXPECT_EQ(same, 0);
}

TEST(RenderViews, WithAllSwitchedOffIsAPlainResize) {
  const Image image = textured(48, 48);
  const AugmentConfig config{
      .crop_min = 1.0, .crop_max = 1.0, .aspect_min = 1.0, .aspect_max = 1.0, .flip = 0.0, .color_jitter = 0.0};
  const auto views = render_views(image, config, kTwoViews, 1, 1, 1);
  EXPECT_TRUE(same_pixels(views[0], resize(image, 32, 32, Kernel::kBicubic)));
}

// ---- Evaluation

TEST(CenterGeometry, EqualsTorchvision) {
  LACUNA_NEEDS_SHARED("golden/preprocess/eval_transform.json");
  const nlohmann::json table = read_json(goldens() / "eval_transform.json");
  int compared = 0;
  for (const auto& row : table.at("geometry")) {
    const CenterGeometry found =
        center_geometry(row.at("in_size").at(0), row.at("in_size").at(1), row.at("resize"), row.at("crop"));
    EXPECT_EQ(found.width, row.at("resized").at(0)) << row;
    EXPECT_EQ(found.height, row.at("resized").at(1)) << row;
    EXPECT_EQ(found.left, row.at("torchvision").at("left")) << row;
    EXPECT_EQ(found.top, row.at("torchvision").at("top")) << row;
    ++compared;
  }
  EXPECT_EQ(compared, 600);
}

// Side and short side of the reference's configurations.
std::pair<int, int> center_config(const std::string& name) {
  if (name == "resize256_crop224") return {224, 256};
  if (name == "clip224") return {224, 224};
  if (name == "timm_crop_pct_0.9") return {224, 248};
  if (name == "clip32") return {32, 32};
  if (name == "resize36_crop32") return {32, 36};
  throw std::runtime_error("no configuration " + name);
}

TEST(CenterView, EqualsTorchvisionOnPhotographs) {
  LACUNA_NEEDS_SHARED("golden/preprocess/eval_transform.json");
  const nlohmann::json table = read_json(goldens() / "eval_transform.json");
  int compared = 0;
  for (const auto& row : table.at("pixels")) {
    const Image image = load_image(photographs() / row.at("image").get<std::string>());
    const auto [side, short_side] = center_config(row.at("config"));
    const Image view = center_view(image, side, short_side, kernel_named(row.at("kernel")));
    EXPECT_EQ(sha256(view.pixels), row.at("sha256_classic")) << row;
    ++compared;
  }
  EXPECT_EQ(compared, 30);
}

TEST(CenterView, EqualsTorchvisionOnSmallImages) {
  LACUNA_NEEDS_SHARED("golden/preprocess/eval_transform.safetensors");
  const TensorFile tensors(goldens() / "eval_transform.safetensors");
  for (const std::string input : {"small0", "small1", "small2"}) {
    const Image image = golden_image(tensors, input + ".input.image");
    for (const std::string config : {"clip32", "resize36_crop32"}) {
      const auto [side, short_side] = center_config(config);
      for (const std::string kernel : {"bicubic", "bilinear"}) {
        const Image expected = golden_image(tensors, input + ".output." + config + "." + kernel);
        EXPECT_TRUE(same_pixels(center_view(image, side, short_side, kernel_named(kernel)), expected))
            << input << config;
      }
    }
  }
  const Image narrow = golden_image(tensors, "padded.input.image");
  for (const int side : {32, 33}) {
    const Image expected = golden_image(tensors, "padded.output.center_crop_" + std::to_string(side));
    EXPECT_TRUE(same_pixels(center_view(narrow, side, narrow.width, Kernel::kBicubic), expected)) << side;
  }
}

TEST(CenterView, PadsWithBlackWhereTheCropIsLarger) {
  const Image image = textured(20, 45);
  const Image view = center_view(image, 33, 20, Kernel::kBicubic);  // keeps its size, 6 columns missing left, 7 right
  ASSERT_EQ(view.width, 33);
  ASSERT_EQ(view.height, 33);
  for (int y = 0; y < 33; ++y) {
    for (int x = 0; x < 33; ++x) {
      const bool inside = x >= 6 && x < 26;
      for (int c = 0; c < 3; ++c) ASSERT_EQ(view.row(y)[3 * x + c], inside ? image.row(y + 6)[3 * (x - 6) + c] : 0);
    }
  }
}

TEST(CenterView, StatedAsARatioFloorsTheShortSide) {
  const Image image = textured(80, 60);
  EXPECT_TRUE(same_pixels(center_view(image, 32, Kernel::kBicubic, 0.9), center_view(image, 32, 35, Kernel::kBicubic)));
}

TEST(CenterView, RefusesAnImageTooElongatedToResize) {
  EXPECT_THROW(center_view(Image(1, 100000), 224, Kernel::kBicubic, 0.875), Error);
}

}  // namespace
}  // namespace lacuna
