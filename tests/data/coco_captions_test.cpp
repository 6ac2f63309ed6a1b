#include "data/source/coco_captions.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "data/source/open_source.h"
#include "support/shared.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGood = R"({"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"},
    {"id": 9, "file_name": "mute.jpg"}], "annotations": [{"image_id": 3, "caption": "b one"},
    {"image_id": 7, "caption": "a one"}, {"image_id": 3, "caption": "b two"}]})";

class CocoTest : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& content) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << content;
    return root_ / name;
  }
  std::string fault(const std::string& content) const {
    write("train2017/a.jpg", "x");
    write("train2017/b.jpg", "x");
    try {
      read_coco_captions(write("captions_train2017.json", content));
    } catch (const Error& error) {
      return error.what();
    }
    return "no Error was thrown";
  }
  testing::TemporaryFolder root_;
};

TEST_F(CocoTest, ImagesAreFoundWherePeopleKeepThem) {
  for (const char* place : {"", "train2017/", "images/train2017/", "../train2017/", "../images/train2017/"}) {
    fs::remove_all(root_ / "set");
    const fs::path json = write("set/annotations/captions_train2017.json", kGood);
    write(std::string("set/annotations/") + place + "a.jpg", "x");
    write(std::string("set/annotations/") + place + "b.jpg", "x");
    const SampleTable table = read_coco_captions(json);
    ASSERT_EQ(table.size(), 2u) << place;  // the one without a caption is left out
    EXPECT_EQ(table.names[0], "a.jpg");
    EXPECT_TRUE(fs::exists(table.root / table.names[1])) << place;
    EXPECT_EQ(table.captions.size(), 3u);
    EXPECT_EQ(table.captions[1], "b one");
    EXPECT_EQ(table.captions[2], "b two");
  }
}

TEST_F(CocoTest, MistakesAreNamed) {
  for (const auto& [content, part] :
       {std::pair{R"([1])", "found no list \"images\""},
        {R"({"images": []})", "found no list \"annotations\""},
        {R"({"images": [{"id": "x", "file_name": "a.jpg"}], "annotations": []})", "images[0]: \"id\" is string"},
        {R"({"images": [{"id": 1}], "annotations": []})", "images[0]: expected \"file_name\""},
        {R"({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}], "annotations": []})",
         "the id 1 is given twice"},
        {R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": []}]})",
         "captions_*.json is wanted"},
        {R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": ""}]})",
         "not in the list"},
        {R"({"images": [{"id": 1, "file_name": "none.jpg"}], "annotations": [{"image_id": 1, "caption": ""}]})",
         "was found neither"},
        {R"({"images": [], "annotations": []})", "found none"},
        {"{", "expected JSON"}})
    EXPECT_NE(fault(content).find(part), std::string::npos) << fault(content);
}

TEST_F(CocoTest, RealFilesReadWhole) {
  LACUNA_NEEDS_SHARED("data/coco_mini/annotations/captions_train2017.json");
  const fs::path data = testing::shared_folder() / "data";
  const SourceConfig mini{.path = (data / "coco_mini/annotations/captions_train2017.json").string()};
  const auto source = open_source(mini, Split::kTrain);
  EXPECT_EQ(source->size(), 80);
  for (std::int64_t i = 0; i < source->size(); ++i) EXPECT_GE(source->captions(i).size(), 5u);
  EXPECT_GT(source->image(79).width, 100);
  const SourceConfig other{.path = (data / "coco128/captions_val2017.json").string()};
  EXPECT_EQ(open_source(other, Split::kTrain)->size(), 40);
}

}  // namespace
}  // namespace lacuna
