#include "data/view/render.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/loader.h"
#include "data/pack.h"
#include "data/source/file_source.h"
#include "data/source/folder_listing.h"
#include "data/source/open_source.h"
#include "data/view/jitter.h"
#include "io/files.h"
#include "support/allocations.h"
#include "support/golden_image.h"
#include "support/made_jpeg.h"
#include "support/shared.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::allocations;
using testing::encoded;
using testing::Make;
using testing::same_pixels;
using testing::shared_folder;
using testing::TemporaryFolder;

const std::vector<ViewSpec> kTwoSizes = {{.side = 48}, {.side = 24, .kernel = Kernel::kLanczos}};

AugmentConfig without_jitter() { return {.crop_min = 0.08, .color_jitter = 0.0}; }

// Renders into images of its own, with the buffers that the renderer keeps.
class Rendering {
 public:
  std::vector<Image> views(ImageReader& reader, const AugmentConfig& config, const std::vector<ViewSpec>& specs,
                           std::uint64_t epoch, std::uint64_t sample) {
    std::vector<Image> images;
    std::vector<std::uint8_t*> places;
    for (const ViewSpec& spec : specs) images.emplace_back(spec.side, spec.side);
    for (Image& image : images) places.push_back(image.pixels.data());
    renderer_.render(reader, config, specs, 7, epoch, sample, places);
    return images;
  }

 private:
  ViewRenderer renderer_;
};

// On every `step`-th file.
void expect_views_of_the_whole(const fs::path& folder, std::uint64_t step, const AugmentConfig& config,
                               const std::vector<ViewSpec>& specs) {
  Rendering rendering;
  ImageReader reader;
  std::uint64_t sample = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (++sample % step != 0) continue;
    reader.name = entry.path().string();
    reader.open_file();
    const auto found = rendering.views(reader, config, specs, 3, sample);
    const auto expected = render_views(load_image(entry.path()), config, specs, 7, 3, sample);
    for (std::size_t i = 0; i < specs.size(); ++i) ASSERT_TRUE(same_pixels(found[i], expected[i])) << reader.name;
  }
  EXPECT_GT(sample, 200u);
}

TEST(ViewRenderer, ReadsPartsOfPhotographsAsIfItReadThemWhole) {
  LACUNA_NEEDS_SHARED("data/imagenet_samples/images");
  const fs::path photographs = shared_folder() / "data/imagenet_samples/images";
  expect_views_of_the_whole(photographs, 1, without_jitter(), kTwoSizes);
  expect_views_of_the_whole(photographs, 4, {}, kTwoSizes);
  std::vector<ViewSpec> two_crops = kTwoSizes;
  two_crops[1].crop = 1;
  expect_views_of_the_whole(photographs, 4, without_jitter(), two_crops);
  expect_views_of_the_whole(photographs, 4, {}, two_crops);
}

TEST(ViewRenderer, PassOrderIsTheConfigurations) {
  Rng rng(1, Purpose::kTest);
  Image image(40, 200);
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(255 * rng.integer(0, 1));
  AugmentConfig config{.crop_min = 1, .aspect_min = 0.1, .flip = 0, .color_jitter = 0};
  const Box whole{0, 0, 40, 200};
  for (const PassOrder order : {PassOrder::kClassic, PassOrder::kPillow13}) {
    config.pass_order = order;
    const CropDraw draw = draw_view_crop(40, 200, config, 1, 1, 1);
    const auto views = render_views(image, config, kTwoSizes, 1, 1, 1);
    EXPECT_TRUE(same_pixels(views[0], resized_crop(image, draw.box, 48, 48, Kernel::kBicubic, order)));
    EXPECT_GT(draw.box.height, 2 * draw.box.width);
  }
  EXPECT_FALSE(same_pixels(resized_crop(image, whole, 48, 48, Kernel::kBicubic, PassOrder::kClassic),
                           resized_crop(image, whole, 48, 48, Kernel::kBicubic, PassOrder::kPillow13)));
}

double mean_distance(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

TEST(ViewRenderer, FastDecodeChangesLargeCropsAloneAndThoseALittle) {
  LACUNA_NEEDS_SHARED("data/imagenet_samples/images");
  AugmentConfig exact = without_jitter(), fast = exact;
  fast.fast_decode = true;
  Rendering rendering;
  ImageReader reader;
  int changed = 0;
  double distance = 0;
  std::uint64_t sample = 0;
  for (const auto& entry : fs::directory_iterator(shared_folder() / "data/imagenet_samples/images")) {
    reader.name = entry.path().string();
    const auto views = [&](const AugmentConfig& config) {
      reader.open_file();
      return rendering.views(reader, config, kTwoSizes, 1, sample);
    };
    const Image expected = views(exact)[0], found = views(fast)[0];
    const Box box = draw_view_crop(reader.width(), reader.height(), exact, 7, 1, sample++).box;
    if (std::min(box.width, box.height) < 3 * kTwoSizes[0].side || same_pixels(found, expected)) {
      ASSERT_TRUE(same_pixels(found, expected)) << reader.name;
      continue;
    }
    distance += mean_distance(found, expected);
    ++changed;
  }
  EXPECT_GT(changed, 50);
  EXPECT_LT(distance / changed, 1.2);  // half a pixel's shift makes it 3
}

TEST(JitteredPart, IsThatPartOfTheJitteredImage) {
  Rng rng(5, Purpose::kTest);
  Image part;
  for (int trial = 0; trial < 200; ++trial) {
    Image image(static_cast<int>(rng.integer(1, 150)), static_cast<int>(rng.integer(1, 60)));
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(rng.integer(0, 255));
    Box box;
    box.width = static_cast<int>(rng.integer(1, image.width));
    box.height = static_cast<int>(rng.integer(1, image.height));
    box.left = static_cast<int>(rng.integer(0, image.width - box.width));
    box.top = static_cast<int>(rng.integer(0, image.height - box.height));
    const ColorJitter jitter = draw_color_jitter(rng.uniform(0, 2), rng);
    jittered_part(image, box, jitter, part);
    color_jitter(image, jitter);
    ASSERT_TRUE(same_pixels(part, resized_crop(image, box, box.width, box.height, Kernel::kBox))) << trial;
  }
}

TEST(ViewRenderer, EqualViewsAreEqual) {
  const Image image(60, 50);
  const std::vector<ViewSpec> specs = {{.side = 32}, {.side = 32, .kernel = Kernel::kBox}, {.side = 32}};
  Image noise = image;
  Rng rng(6, Purpose::kTest);
  for (std::uint8_t& value : noise.pixels) value = static_cast<std::uint8_t>(rng.integer(0, 255));
  const auto views = render_views(noise, {}, specs, 1, 1, 1);
  EXPECT_TRUE(same_pixels(views[0], views[2]));
  EXPECT_FALSE(same_pixels(views[0], views[1]));
}

// ---- Memory

// JPEG files of several sizes and makes.
void fill_with_jpegs(const fs::path& folder, int count) {
  Rng rng(2, Purpose::kTest);
  for (int i = 0; i < count; ++i) {
    Make make{.width = 200 + 17 * (i % 5), .height = 150 + 23 * (i % 3)};
    make.components = i % 7 == 6 ? 1 : 3;
    make.luma_height = 1 + i % 2;
    make.progressive = i % 8 == 7;
    const auto bytes = encoded(make, rng);
    AtomicFile file(folder / text("sample_", i, ".jpg"), bytes.size());
    file.write(std::as_bytes(std::span(bytes)));
    file.commit();
  }
}

TEST(ViewRenderer, AllocatesNothingOnceItsBuffersHaveGrown) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer has malloc to itself";
  const TemporaryFolder folder;
  fill_with_jpegs(folder.path(), 16);
  const FileSource source(list_images(scan_folder(folder.path()), FolderLayout::kAny));
  std::vector<std::uint8_t> pixels(48 * 48 * 3 + 24 * 24 * 3);
  const std::vector<std::uint8_t*> places = {pixels.data(), pixels.data() + 48 * 48 * 3};
  ImageReader reader;
  ViewRenderer renderer;
  const auto epoch = [&](const AugmentConfig& config, std::uint64_t number) {
    for (std::int64_t i = 0; i < source.size(); ++i) {
      source.open(i, reader);
      renderer.render(reader, config, kTwoSizes, 1, number, static_cast<std::uint64_t>(i), places);
    }
  };
  AugmentConfig largest = without_jitter();
  largest.crop_min = 1;
  largest.aspect_min = 0.01;  // the whole image is a crop
  largest.aspect_max = 100;
  for (const double jitter : {0.0, 0.4}) {
    largest.color_jitter = jitter;
    for (std::uint64_t number = 0; number < 3; ++number) epoch(largest, number);
  }

  const std::int64_t before = allocations();
  for (std::uint64_t number = 0; number < 20; ++number) epoch(without_jitter(), number);
  AugmentConfig jittered = without_jitter();
  jittered.color_jitter = 0.4;
  for (std::uint64_t number = 0; number < 20; ++number) epoch(jittered, number);
  EXPECT_EQ(allocations() - before, 0);
}

// Sixteen JPEGs as files, in a tar, as both with weights, and kept decoded.
std::map<std::string, std::unique_ptr<Source>> sources_of(const fs::path& folder) {
  fs::create_directories(folder / "files");
  fill_with_jpegs(folder / "files", 16);
  const auto open = [&](const SourceConfig& config) { return open_source(config, Split::kTrain); };
  const std::string files = folder / "files", tar = folder / "tar";
  pack(*open({.path = files}), tar, {}, 1);
  std::map<std::string, std::unique_ptr<Source>> sources;
  sources["files"] = open({.path = files});
  sources["tar"] = open({.path = tar});
  sources["both"] = open({.path = files, .also = {tar}, .weights = {1, 3}});
  sources["decoded"] = open({.path = files, .cache = folder / "cache", .decoded_side = 32});
  return sources;
}

TEST(Loader, AllocatesNothingOverFiftyEpochs) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer has malloc to itself";
  const TemporaryFolder folder;
  AugmentConfig config = without_jitter();
  config.crop_min = 1;  // crops of one size, so that the buffers are grown after the first epochs
  config.flip = 0;
  for (const auto& [name, source] : sources_of(folder)) {
    Loader loader(*source, kTwoSizes, config, {.batch_size = 8, .threads = 1}, "");
    loader.start(0);
    const auto epochs = [&](int count) {
      for (std::int64_t i = 0; i < count * loader.steps_per_epoch(); ++i) loader.next();
    };
    epochs(10);
    const std::int64_t before = allocations();
    epochs(40);
    EXPECT_EQ(allocations() - before, 0) << name;
  }
}

TEST(Loader, MemoryIsFlatOverFiftyEpochs) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer has malloc to itself";
  const TemporaryFolder folder;
  for (const auto& [name, source] : sources_of(folder)) {
    Loader loader(*source, kTwoSizes, {}, {.batch_size = 8, .threads = 2}, "");
    loader.start(0);
    const auto epochs = [&](int count) {
      for (std::int64_t i = 0; i < count * loader.steps_per_epoch(); ++i) loader.next();
    };
    epochs(25);
    const std::int64_t before = testing::allocated_bytes();
    epochs(25);
    EXPECT_LT(testing::allocated_bytes() - before, 64 << 10) << name;
  }
}

}  // namespace
}  // namespace lacuna
