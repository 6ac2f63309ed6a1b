#include "io/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "io/files.h"
#include "support/golden_image.h"
#include "support/sha256.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using testing::golden_image;
using testing::kernel_named;
using testing::same_pixels;
using testing::shared_folder;

constexpr std::array kKernels = {Kernel::kBox, Kernel::kBilinear, Kernel::kHamming, Kernel::kBicubic, Kernel::kLanczos};

Image gradient(int width, int height) {
  Image image(width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  return image;
}

Image cropped(const Image& image, const Box& box) {
  return resized_crop(image, box, box.width, box.height, Kernel::kBicubic);
}

TEST(Resize, EqualsPillowClassicOnEveryReferenceCase) {
  LACUNA_NEEDS_SHARED("golden/preprocess/resize.json");
  const auto folder = shared_folder() / "golden/preprocess";
  const TensorFile tensors(folder / "resize.safetensors");
  int compared = 0;
  int nearest = 0;
  const nlohmann::json table = read_json(folder / "resize.json");
  for (const auto& row : table.at("cases")) {
    const std::string kernel = row.at("kernel");
    if (kernel == "nearest") {  // label maps, which are not images here
      ++nearest;
      continue;
    }
    const Image input = golden_image(tensors, row.at("input"));
    const std::string output = row.contains("output_classic") ? row.at("output_classic") : row.at("output");
    const int width = row.at("out_size").at(0);
    const int height = row.at("out_size").at(1);
    const auto& box = row.at("box");
    const Image found = box.is_null() ? resize(input, width, height, kernel_named(kernel))
                                      : resize_region(input, {box.at(0), box.at(1), box.at(2), box.at(3)}, width,
                                                      height, kernel_named(kernel));
    EXPECT_TRUE(same_pixels(found, golden_image(tensors, output))) << output;
    ++compared;
  }
  RecordProperty("compared", compared);
  EXPECT_EQ(compared, 255);
  EXPECT_EQ(nearest, 12);
}

TEST(Resize, EqualsPillowClassicOnWholePhotographs) {
  LACUNA_NEEDS_SHARED("golden/preprocess/resize_hashes.tsv");
  std::ifstream table(shared_folder() / "golden/preprocess/resize_hashes.tsv");
  std::string line;
  std::getline(table, line);
  int compared = 0;
  std::string loaded;
  Image image;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string name, kernel, sha_pillow13, sha_classic;
    int width = 0, height = 0, out_width = 0, out_height = 0;
    fields >> name >> width >> height >> kernel >> out_width >> out_height >> sha_pillow13 >> sha_classic;
    if (name != loaded) image = load_image(shared_folder() / "data/imagenet_samples/images" / name);
    loaded = name;
    const Image found = resize(image, out_width, out_height, kernel_named(kernel));
    EXPECT_EQ(testing::sha256(found.pixels), sha_classic) << line;
    ++compared;
  }
  EXPECT_EQ(compared, 236);
}

TEST(Resize, KeepsAConstantImageConstant) {
  Image image(41, 29);
  std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{173});
  for (const Kernel kernel : kKernels) {
    for (const auto& [width, height] : {std::pair{16, 16}, {97, 80}, {1, 1}, {41, 7}}) {
      const Image out = resize(image, width, height, kernel);
      for (const std::uint8_t value : out.pixels) ASSERT_EQ(value, 173);
    }
  }
}

TEST(Resize, CopiesWhenTheSizeStays) {
  const Image image = gradient(37, 23);
  for (const Kernel kernel : kKernels) EXPECT_TRUE(same_pixels(resize(image, 37, 23, kernel), image));
}

TEST(ResizedCrop, IgnoresWhatLiesOutsideTheBox) {
  const Box box{5, 3, 20, 17};
  const Image image = gradient(40, 30);
  const Image alone = cropped(image, box);
  ASSERT_EQ(alone.width, 20);
  EXPECT_EQ(alone.row(0)[0], image.row(3)[15]);
  for (const Kernel kernel : kKernels) {
    EXPECT_TRUE(same_pixels(resized_crop(image, box, 9, 31, kernel), resize(alone, 9, 31, kernel)));
  }
}

TEST(ResizedCrop, RefusesABoxOutsideTheImage) {
  const Image image = gradient(10, 10);
  EXPECT_THROW(resized_crop(image, {5, 0, 6, 4}, 4, 4, Kernel::kBox), std::logic_error);
  EXPECT_THROW(resized_crop(image, {0, -1, 6, 4}, 4, 4, Kernel::kBox), std::logic_error);
  EXPECT_THROW(resized_crop(image, {0, 0, 6, 0}, 4, 4, Kernel::kBox), std::logic_error);
  EXPECT_THROW(resize(image, 0, 4, Kernel::kBox), std::logic_error);
}

TEST(ResizedWindow, IsAPartOfTheWholeResize) {
  const Image image = gradient(50, 40);
  const Box window{7, 11, 21, 13};
  for (const Kernel kernel : kKernels) {
    for (const auto& [width, height] : {std::pair{33, 28}, {50, 28}, {33, 40}, {50, 40}, {120, 90}}) {
      const Image expected = cropped(resize(image, width, height, kernel), window);
      EXPECT_TRUE(same_pixels(resized_window(image, width, height, window, kernel), expected));
    }
  }
}

}  // namespace
}  // namespace lacuna
