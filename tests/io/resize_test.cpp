#include "io/image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/rng.h"
#include "io/files.h"
#include "io/image/resize_passes.h"
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

int reference_cases(PassOrder order, const char* output_key) {
  const auto folder = shared_folder() / "golden/preprocess";
  const TensorFile tensors(folder / "resize.safetensors");
  int compared = 0;
  const nlohmann::json table = read_json(folder / "resize.json");
  for (const auto& row : table.at("cases")) {
    const std::string kernel = row.at("kernel");
    if (kernel == "nearest") continue;  // label maps, which are not images here
    const Image input = golden_image(tensors, row.at("input"));
    const std::string output = row.at(row.contains(output_key) ? output_key : "output");
    const int width = row.at("out_size").at(0);
    const int height = row.at("out_size").at(1);
    const auto& box = row.at("box");
    const Image found = box.is_null() ? resize(input, width, height, kernel_named(kernel), order)
                                      : resize_region(input, {box.at(0), box.at(1), box.at(2), box.at(3)}, width,
                                                      height, kernel_named(kernel), order);
    EXPECT_TRUE(same_pixels(found, golden_image(tensors, output))) << output;
    ++compared;
  }
  return compared;
}

TEST(Resize, EqualsPillowOnEveryReferenceCase) {
  LACUNA_NEEDS_SHARED("golden/preprocess/resize.json");
  EXPECT_EQ(reference_cases(PassOrder::kClassic, "output_classic"), 255);
  EXPECT_EQ(reference_cases(PassOrder::kPillow13, "output"), 255);
}

TEST(Resize, EqualsPillowOnWholePhotographs) {
  LACUNA_NEEDS_SHARED("golden/preprocess/resize_hashes.tsv");
  std::ifstream table(shared_folder() / "golden/preprocess/resize_hashes.tsv");
  std::string line;
  std::getline(table, line);
  int compared = 0, depend_on_order = 0;
  std::string loaded;
  Image image;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string name, kernel, sha_pillow13, sha_classic;
    int width = 0, height = 0, out_width = 0, out_height = 0;
    fields >> name >> width >> height >> kernel >> out_width >> out_height >> sha_pillow13 >> sha_classic;
    if (name != loaded) image = load_image(shared_folder() / "data/imagenet_samples/images" / name);
    loaded = name;
    const auto hash = [&](PassOrder order) {
      return testing::sha256(resize(image, out_width, out_height, kernel_named(kernel), order).pixels);
    };
    EXPECT_EQ(hash(PassOrder::kClassic), sha_classic) << line;
    EXPECT_EQ(hash(PassOrder::kPillow13), sha_pillow13) << line;
    depend_on_order += sha_classic != sha_pillow13 ? 1 : 0;
    ++compared;
  }
  EXPECT_EQ(compared, 236);
  EXPECT_EQ(depend_on_order, 26);
}

// ---- Every variant of the passes against the plain one

Image random_image(int width, int height, Rng& rng) {
  Image image(width, height);
  const bool extreme = rng.chance(0.3);  // only 0 and 255: the largest sums, and clamping
  for (std::uint8_t& value : image.pixels) {
    value = static_cast<std::uint8_t>(extreme ? 255 * rng.integer(0, 1) : rng.integer(0, 255));
  }
  return image;
}

// Small sizes most of the time: there the vectors are longer than the rows.
int random_side(Rng& rng) {
  return static_cast<int>(rng.chance(0.6) ? rng.integer(1, 24) : rng.integer(1, rng.chance(0.2) ? 900 : 160));
}

std::vector<std::uint8_t> resized_by(const ResizePasses& passes, const ImageView& image, const ResizeSpec& spec) {
  // Exactly the bytes of the result, so that a sanitizer sees one too many.
  std::vector<std::uint8_t> out(static_cast<std::size_t>(spec.width) * static_cast<std::size_t>(spec.height) * 3);
  Resizer(passes).resize(image, spec, out.data());
  return out;
}

TEST(ResizePasses, AllGiveTheSameBytes) {
  const auto variants = resize_passes();
  if (variants.size() == 1) GTEST_SKIP() << "this machine runs the plain passes only";
  Rng rng(3, Purpose::kTest, 0, 0);
  for (int trial = 0; trial < 1500; ++trial) {
    const int width = random_side(rng), height = random_side(rng);
    const Image image = random_image(width, height, rng);
    const ResizeSpec spec{random_side(rng), random_side(rng), kKernels[static_cast<std::size_t>(rng.integer(0, 4))],
                          rng.chance(0.5) ? PassOrder::kClassic : PassOrder::kPillow13, rng.chance(0.5)};
    const auto expected = resized_by(variants[0], image, spec);
    for (const ResizePasses& variant : variants.subspan(1)) {
      ASSERT_EQ(resized_by(variant, image, spec), expected)
          << variant.name << ": " << width << " x " << height << " to " << spec.width << " x " << spec.height
          << ", kernel " << static_cast<int>(spec.kernel) << ", trial " << trial;
    }
  }
}

TEST(ResizePasses, MirroredIsTheResizeOfTheMirroredImage) {
  Rng rng(4, Purpose::kTest, 0, 0);
  for (int trial = 0; trial < 300; ++trial) {
    const Image image = random_image(random_side(rng), random_side(rng), rng);
    Image mirrored = image;
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        std::copy_n(image.row(y) + 3 * x, 3, mirrored.row(y) + 3 * (image.width - 1 - x));
      }
    }
    ResizeSpec spec{random_side(rng), random_side(rng), kKernels[static_cast<std::size_t>(rng.integer(0, 4))],
                    rng.chance(0.5) ? PassOrder::kClassic : PassOrder::kPillow13, false};
    if (rng.chance(0.2)) spec.width = image.width;
    if (rng.chance(0.2)) spec.height = image.height;
    for (const ResizePasses& variant : resize_passes()) {
      spec.mirrored = false;
      const auto expected = resized_by(variant, mirrored, spec);
      spec.mirrored = true;
      ASSERT_EQ(resized_by(variant, image, spec), expected) << variant.name << ", trial " << trial;
    }
  }
}

TEST(ResizePasses, AMirroredRegionIsThatOfTheMirroredImage) {
  Rng rng(5, Purpose::kTest);
  for (int trial = 0; trial < 200; ++trial) {
    const Image image = random_image(random_side(rng), random_side(rng), rng);
    Image mirrored(image.width, image.height);
    Resizer().resize(image, {.width = image.width, .height = image.height, .mirrored = true}, mirrored.pixels.data());
    const float width = static_cast<float>(image.width), height = static_cast<float>(image.height);
    const float left = width * static_cast<float>(rng.integer(0, 7)) / 16, right = width - left / 2;
    ResizeSpec spec{random_side(rng), random_side(rng), Kernel::kBicubic};
    std::vector<std::uint8_t> expected(static_cast<std::size_t>(spec.width * spec.height) * 3), found = expected;
    Resizer().resize_region(mirrored, {left, 0, right, height}, spec, expected.data());
    spec.mirrored = true;
    Resizer().resize_region(image, {width - right, 0, width - left, height}, spec, found.data());
    ASSERT_EQ(found, expected) << trial;
  }
}

TEST(Taps, EqualPillowsCoefficients) {
  LACUNA_NEEDS_SHARED("golden/preprocess/coefficients.json");
  const auto folder = shared_folder() / "golden/preprocess";
  const TensorFile tensors(folder / "coefficients.safetensors");
  const auto values = [&](const std::string& key) {
    const auto& tensor = tensors.at(key);
    std::vector<std::int32_t> out(tensor.data.size() / sizeof(std::int32_t));
    std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
    return out;
  };
  Taps taps;  // one for all: what an earlier axis left behind must not show
  int compared = 0;
  const nlohmann::json table = read_json(folder / "coefficients.json");
  for (const auto& row : table.at("cases")) {
    const std::string key = row.at("key");
    const int out = row.at("out");
    taps.make({row.at("in"), row.at("from"), row.at("to"), out, 0, out}, kernel_named(row.at("kernel")));
    EXPECT_EQ(taps.first, values("first." + key)) << key;
    EXPECT_EQ(taps.count, values("count." + key)) << key;
    const auto weights = values("weight." + key);
    const std::size_t columns = weights.size() / static_cast<std::size_t>(out);
    for (int o = 0; o < out; ++o) {
      const auto count = static_cast<std::size_t>(taps.count[static_cast<std::size_t>(o)]);
      const std::vector<int> found(taps.of(o), taps.of(o) + count);
      const auto begin = weights.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(o) * columns);
      ASSERT_EQ(found, std::vector<int>(begin, begin + static_cast<std::ptrdiff_t>(count))) << key << ", output " << o;
    }
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int>(table.at("cases").size()));
  EXPECT_GT(compared, 20);
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
