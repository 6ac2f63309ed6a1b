#include "data/source/joined_source.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "io/image/png_writer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

void write_gray(const fs::path& path, std::uint8_t value) {
  Image image(2, 2);
  std::fill(image.pixels.begin(), image.pixels.end(), value);
  fs::create_directories(path.parent_path());
  write_png(path, image);
}

std::vector<int> grays(const Source& source) {
  std::vector<int> out;
  for (std::int64_t i = 0; i < source.size(); ++i) out.push_back(source.image(i).pixels[0]);
  return out;
}

TEST(OpenImages, TakesImagesListsFoldersAndShapesInTheOrderGiven) {
  const TemporaryFolder folder;
  write_gray(folder / "one.png", 1);
  write_gray(folder / "two.png", 2);
  write_gray(folder / "tree/train/x/3.png", 3);
  write_gray(folder / "tree/val/x/4.png", 4);
  std::ofstream(folder / "list.txt") << "two.png\none.png\n";
  const std::vector<std::string> paths = {(folder / "two.png").string(), (folder / "one.png").string(),
                                          (folder / "tree").string(), (folder / "list.txt").string()};
  const auto images = open_images(paths, {});
  EXPECT_EQ(grays(*images), (std::vector<int>{2, 1, 3, 4, 2, 1}));
  EXPECT_EQ(images->name(0), paths[0]);
  EXPECT_EQ(images->name(3), (folder / "tree/val/x/4.png").string());
  EXPECT_TRUE(images->classes().empty());

  const std::vector<std::string> shapes = {"shapes", paths[0]};
  const auto mixed = open_images(shapes, {.path = {}, .class_captions = {}, .size = 3, .side = 16});
  EXPECT_EQ(mixed->size(), 4);
  EXPECT_EQ(mixed->name(2), "shapes:2");
  EXPECT_EQ(mixed->name(3), paths[0]);
}

TEST(OpenImages, FingerprintKnowsTheOrder) {
  const TemporaryFolder folder;
  write_gray(folder / "a/1.png", 1);
  write_gray(folder / "b/2.png", 2);
  const std::vector<std::string> ab = {(folder / "a").string(), (folder / "b").string()}, ba = {ab[1], ab[0]};
  EXPECT_EQ(open_images(ab, {})->fingerprint(), open_images(ab, {})->fingerprint());
  EXPECT_NE(open_images(ab, {})->fingerprint(), open_images(ba, {})->fingerprint());
}

TEST(OpenImages, RefusesWhatIsNotThere) {
  const std::vector<std::string> image = {"/no/such.png"}, folder = {"/no/such"};
  EXPECT_THROW(open_images(image, {}), Error);
  EXPECT_THROW(open_images(folder, {}), Error);
}

}  // namespace
}  // namespace lacuna
