#include "data/pack.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/data_report.h"
#include "data/source/open_source.h"
#include "io/files.h"
#include "io/image/jpeg_writer.h"
#include "io/image/png_writer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

Image noise(std::uint64_t seed, int width, int height) {
  Image image(width, height);
  Rng rng(seed, Purpose::kTest);
  for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(rng.bits());
  return image;
}

class PackTest : public ::testing::Test {
 protected:
  // Labelled, captioned images of some formats; one is broken, two are equal.
  PackTest() {
    fs::create_directories(root_ / "in");
    std::string list = "path,label,caption\n";
    for (int i = 0; i < 30; ++i) {
      const std::string name = "img" + std::to_string(i) + (i % 2 == 0 ? ".png" : ".jpg");
      const Image image = noise(i == 7 ? 5 : static_cast<std::uint64_t>(i), 40 + i, 50);
      if (i % 2 == 0) {
        write_png(root_ / "in" / name, image);
      } else {
        const auto bytes = encode_jpeg(i == 7 ? noise(5, 45, 50) : image, 90);
        write_file_atomic(root_ / "in" / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      }
      list += name + "," + (i % 3 == 0 ? "dog" : "cat") + ",caption " + std::to_string(i) + "\n";
      if (i == 4) list += name + ",cat,\"a second, caf\xC3\xA9\"\n";
    }
    std::ofstream(root_ / "in/img10.png") << "broken";
    std::ofstream(root_ / "in/list.csv") << list;
  }

  std::unique_ptr<Source> source() const {
    return open_source({.path = (root_ / "in/list.csv").string()}, Split::kTrain);
  }
  std::unique_ptr<Source> packed(const std::string& name = "out") const {
    return open_source({.path = (root_ / name).string()}, Split::kTrain);
  }

  testing::TemporaryFolder root_;
};

TEST_F(PackTest, KeepsBytesLabelsAndCaptions) {
  const auto before = source();
  const PackReport report = pack(*before, root_ / "out", {.shard_megabytes = 1}, 3);
  EXPECT_EQ(report.samples, 29);
  ASSERT_EQ(report.broken.size(), 1u);
  EXPECT_NE(report.broken[0].name.find("img10.png"), std::string::npos);
  const auto after = packed();
  ASSERT_EQ(after->size(), 29);
  EXPECT_EQ(after->classes(), (Strings{"cat", "dog"}));
  for (std::int64_t i = 0, j = 0; i < 30; ++i) {
    if (i == 10) continue;
    std::vector<std::uint8_t> one, two;
    ASSERT_TRUE(before->encoded(i, one) && after->encoded(j, two));
    EXPECT_EQ(one, two);
    EXPECT_EQ(before->label(i), after->label(j));
    EXPECT_EQ(before->captions(i), after->captions(j));
    ++j;
  }
}

TEST_F(PackTest, DoesNotDependOnThreads) {
  pack(*source(), root_ / "one", {.shard_megabytes = 1}, 1);
  pack(*source(), root_ / "four", {.shard_megabytes = 1}, 4);
  EXPECT_EQ(hash_file(root_ / "one/shard-000000.tar"), hash_file(root_ / "four/shard-000000.tar"));
}

TEST_F(PackTest, GoesOnWhereItWasInterrupted) {
  fs::create_directories(root_ / "big");
  for (int i = 0; i < 6; ++i) write_png(root_ / "big" / (std::to_string(i) + ".png"), noise(1 + i, 500, 500));
  const auto big = open_source({.path = (root_ / "big").string()}, Split::kTrain);
  const PackConfig config{.shard_megabytes = 1};
  EXPECT_EQ(pack(*big, root_ / "whole", config, 2).shards, 3);
  const auto stop = [](std::int64_t done) {
    if (done >= 4) throw std::runtime_error("killed");
  };
  EXPECT_THROW(pack(*big, root_ / "part", config, 2, stop), std::runtime_error);
  EXPECT_THROW(pack(*big, root_ / "part", {.shard_megabytes = 2}, 2), Error);
  const PackReport report = pack(*big, root_ / "part", config, 2);
  EXPECT_EQ(report.kept, 1);
  EXPECT_EQ(report.samples, 6);
  for (const char* file : {"shard-000000.tar", "shard-000001.tar", "shard-000002.tar", "index.lacuna"})
    EXPECT_EQ(hash_file(root_ / "part" / file), hash_file(root_ / "whole" / file)) << file;

  PackConfig small{.shard_megabytes = 1, .side = 490, .quality = 100};
  const auto late = [](std::int64_t done) {
    if (done == 6) throw std::runtime_error("killed");
  };
  EXPECT_THROW(pack(*big, root_ / "small", small, 2, late), std::runtime_error);
  small.decode.orient = true;
  EXPECT_THROW(pack(*big, root_ / "small", small, 2), Error) << "half of it is turned upright";
  small.decode.orient = false;
  EXPECT_EQ(pack(*big, root_ / "small", small, 2).samples, 6);
}

TEST_F(PackTest, ReencodesToTheShortSide) {
  pack(*source(), root_ / "small", {.side = 32, .quality = 90}, 2);
  const auto after = packed("small");
  for (std::int64_t i = 0; i < after->size(); ++i) {
    const Image image = after->image(i);
    EXPECT_EQ(std::min(image.width, image.height), 32) << after->name(i);
  }
  const auto manifest = read_json(root_ / "small/pack.json");
  EXPECT_NE(manifest["settings"]["images"].get<std::string>().find("quality 90"), std::string::npos);
}

TEST_F(PackTest, RefusesAFolderWithSomethingElseInIt) {
  fs::create_directories(root_ / "full");
  std::ofstream(root_ / "full/notes.txt") << "mine";
  EXPECT_THROW(pack(*source(), root_ / "full", {}, 1), Error);
  pack(*source(), root_ / "out", {}, 1);
  EXPECT_THROW(pack(*source(), root_ / "out", {}, 1), Error);
  EXPECT_EQ(read_file(root_ / "full/notes.txt", 100), "mine");
}

TEST_F(PackTest, AReportCountsEverything) {
  for (const int threads : {1, 4}) {
    const DataReport report = look_at(*source(), threads);
    EXPECT_EQ(report.samples, 30);
    EXPECT_EQ(report.readable, 29);
    ASSERT_EQ(report.broken.size(), 1u);
    EXPECT_EQ(report.broken[0].id, 10);
    EXPECT_EQ(report.formats, (std::map<std::string, std::int64_t>{{"JPEG", 15}, {"PNG", 14}}));
    ASSERT_EQ(report.duplicates.size(), 1u);
    EXPECT_NE(report.duplicates[0][0].find("img5.jpg"), std::string::npos);
    EXPECT_NE(report.duplicates[0][1].find("img7.jpg"), std::string::npos);
    EXPECT_EQ(report.classes, (std::vector<std::pair<std::string, std::int64_t>>{{"cat", 20}, {"dog", 10}}));
    EXPECT_EQ(report.captions.count, 31);
    EXPECT_EQ(report.captions.not_ascii, 1);
    EXPECT_EQ(report.captions.characters.least, 9);
    EXPECT_EQ(report.captions.characters.greatest, 14);
    EXPECT_EQ(report.widths.least, 40);
    EXPECT_EQ(report.widths.greatest, 69);
  }
}

}  // namespace
}  // namespace lacuna
