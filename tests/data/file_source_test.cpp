#include "data/source/file_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "base/error.h"
#include "data/source/open_source.h"
#include "io/image/png_writer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

class SourceTest : public ::testing::Test {
 protected:
  fs::path write(const std::string& relative, const std::string& content = "x") const {
    const fs::path path = root_ / relative;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  std::unique_ptr<Source> open(const std::string& relative = "", SourceKind kind = SourceKind::kAuto,
                               Split split = Split::kTrain) const {
    SourceConfig config;
    config.path = (root_ / relative).string();
    config.kind = kind;
    config.class_captions = captions_;
    return open_source(config, split, &notes_);
  }

  // Names relative to the test's folder.
  std::vector<std::string> names(const Source& source) const {
    std::vector<std::string> all;
    for (std::int64_t i = 0; i < source.size(); ++i) {
      all.push_back(fs::path(source.name(i)).lexically_relative(root_).string());
    }
    return all;
  }

  static std::vector<std::int64_t> labels(const Source& source) {
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < source.size(); ++i) all.push_back(source.label(i));
    return all;
  }

  static std::set<std::string> captions(const Source& source, std::int64_t index) {
    std::set<std::string> seen;
    for (std::uint64_t i = 0; i < 64; ++i) {
      Rng rng(i, Purpose::kTest);
      seen.insert(source.caption(index, rng));
    }
    return seen;
  }

  // Expects an Error whose text holds each of `parts`.
  static void expect_error(const std::function<void()>& action, std::initializer_list<const char*> parts) {
    try {
      action();
      ADD_FAILURE() << "expected an Error";
    } catch (const Error& error) {
      for (const char* part : parts) EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  testing::TemporaryFolder root_;
  std::vector<std::string> captions_;
  mutable std::vector<std::string> notes_;
};

using Strings = std::vector<std::string>;
using Labels = std::vector<std::int64_t>;

TEST_F(SourceTest, FolderIsRecursiveSortedByBytesAndSkipsHiddenNames) {
  for (const char* name :
       {"b.PNG", "a/z.jpeg", "a.jpg", "a-b/x.webp", "B.jpg", ".hidden.png", ".git/x.png", "notes.txt"}) {
    write(name);
  }
  const auto source = open();
  EXPECT_EQ(names(*source), (Strings{"B.jpg", "a-b/x.webp", "a.jpg", "a/z.jpeg", "b.PNG"}));
  EXPECT_EQ(labels(*source), (Labels{-1, -1, -1, -1, -1}));
  EXPECT_TRUE(source->classes().empty());
}

TEST_F(SourceTest, LoopsOfLinksEnd) {
  write("a/b/x.png");
  fs::create_directory_symlink(root_, root_ / "a" / "b" / "up");
  fs::create_directory_symlink(root_ / "a", root_ / "a" / "self");
  fs::create_symlink(root_ / "gone.png", root_ / "a" / "dangling.png");
  EXPECT_EQ(names(*open()), (Strings{"a/b/x.png", "a/dangling.png"}));
}

TEST_F(SourceTest, SubFoldersAreClasses) {
  for (const char* name : {"dog/1.png", "cat/deep/er/2.png", "cat/1.png", "dog-house/1.png", "empty/readme.md"})
    write(name);
  const auto source = open();
  EXPECT_EQ(source->classes(), (Strings{"cat", "dog", "dog-house"}));
  EXPECT_EQ(names(*source), (Strings{"cat/1.png", "cat/deep/er/2.png", "dog-house/1.png", "dog/1.png"}));
  EXPECT_EQ(labels(*source), (Labels{0, 0, 2, 1}));
  EXPECT_EQ(open("", SourceKind::kFolder)->label(0), kNoLabel);
}

TEST_F(SourceTest, OneSubFolderOrImagesAtTheTopMakeAFlatFolder) {
  write("all/1.png");
  EXPECT_TRUE(open()->classes().empty());
  write("more/1.png");
  EXPECT_EQ(open()->classes().size(), 2u);
  write("top.png");
  EXPECT_TRUE(open()->classes().empty());
  expect_error([&] { open("", SourceKind::kClasses); }, {"1 outside", "top.png", "data.kind = \"folder\""});
}

TEST_F(SourceTest, SplitFoldersAreChosenAndNoted) {
  write("train/cat/1.png");
  write("train/dog/1.png");
  write("val/cat/9.png");
  write("val/dog/9.png");
  EXPECT_EQ(names(*open()), (Strings{"train/cat/1.png", "train/dog/1.png"}));
  ASSERT_FALSE(notes_.empty());
  EXPECT_NE(notes_.front().find("train"), std::string::npos);
  EXPECT_EQ(names(*open("", SourceKind::kAuto, Split::kVal)), (Strings{"val/cat/9.png", "val/dog/9.png"}));
  EXPECT_EQ(names(*open("val", SourceKind::kAuto, Split::kVal)), (Strings{"val/cat/9.png", "val/dog/9.png"}));
  fs::remove_all(root_ / "val");
  expect_error([&] { open("", SourceKind::kAuto, Split::kVal); }, {"expected val/ beside train/"});
}

TEST_F(SourceTest, TrainMayBeAClassOfVehicles) {
  write("bus/1.png");
  write("train/1.png");
  EXPECT_EQ(open()->classes(), (Strings{"bus", "train"}));
  EXPECT_NE(notes_.front().find("no val/"), std::string::npos);
}

TEST_F(SourceTest, ClassNamesAreTranslatedAndFillCaptions) {
  write("classes.tsv", "label\twnid\tname\n0\tn01\ttench\n1\tn02\tEnglish springer\n");
  for (const char* name : {"train/n01/1.png", "train/n02/1.png", "train/fire_truck/1.png", "val/n01/1.png"})
    write(name);
  captions_ = {"a photo of a {}.", "art of the {}"};
  const auto source = open();
  EXPECT_EQ(source->classes(), (Strings{"fire_truck", "tench", "English springer"}));
  EXPECT_EQ(captions(*source, 0), (std::set<std::string>{"a photo of a fire truck.", "art of the fire truck"}));
  EXPECT_EQ(captions(*source, 2),
            (std::set<std::string>{"a photo of a English springer.", "art of the English springer"}));
  captions_ = {"no blank"};
  expect_error([&] { open(); }, {"no blank", "{}"});
}

TEST_F(SourceTest, TabbedListWithClassNames) {
  write("img/1.png");
  write("list.tsv", "\xEF\xBB\xBFimg/1.png\tdog\r\n\nimg/2.png\tcat\ta cat, \"quoted\"\nimg/3.png\n/abs/4.png\tdog\n");
  const auto source = open("list.tsv");
  EXPECT_EQ(source->size(), 4);
  EXPECT_EQ(source->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(labels(*source), (Labels{1, 0, kNoLabel, 1}));
  EXPECT_EQ(source->name(3), "/abs/4.png");
  EXPECT_EQ(captions(*source, 1), (std::set<std::string>{"a cat, \"quoted\""}));
  EXPECT_EQ(captions(*source, 0), (std::set<std::string>{""}));
}

TEST_F(SourceTest, TabbedListWithNumbersKeepsThem) {
  write("1.png");
  write("list.txt", "1.png\t10\n2.png\t2\n1.png\t10\n");
  const auto source = open("list.txt");
  EXPECT_EQ(labels(*source), (Labels{10, 2, 10}));  // a repeated line without a caption repeats the image
  EXPECT_EQ(source->classes().size(), 11u);
  EXPECT_EQ(source->classes()[10], "10");
}

TEST_F(SourceTest, CsvQuotesAndSeveralCaptions) {
  write("a.jpg");
  write("captions.csv",
        "id,Image,caption,class\r\n"
        "1,a.jpg,\"A dog, running .\",x\r\n"
        "2,b.jpg,plain,y\r\n"
        "3,a.jpg,\"says \"\"hi\"\"\nin two lines\",x\r\n");
  const auto source = open("captions.csv");
  EXPECT_EQ(names(*source), (Strings{"a.jpg", "b.jpg"}));
  EXPECT_EQ(captions(*source, 0), (std::set<std::string>{"A dog, running .", "says \"hi\"\nin two lines"}));
  EXPECT_EQ(labels(*source), (Labels{0, 1}));
}

TEST_F(SourceTest, JsonLines) {
  write("a.jpg");
  write("list.jsonl",
        "{\"path\": \"a.jpg\", \"label\": 3, \"captions\": [\"one\", \"two\"]}\n"
        "{\"image\": \"b.jpg\", \"class\": 0, \"caption\": \"three\"}\n"
        "{\"file_name\": \"c.jpg\"}\n");
  const auto source = open("list.jsonl");
  EXPECT_EQ(labels(*source), (Labels{3, 0, kNoLabel}));
  EXPECT_EQ(captions(*source, 0), (std::set<std::string>{"one", "two"}));
  EXPECT_EQ(captions(*source, 1), (std::set<std::string>{"three"}));
}

TEST_F(SourceTest, FaultsInListsNameTheLine) {
  write("a.jpg");
  const auto broken = [&](const std::string& name, const std::string& content,
                          std::initializer_list<const char*> parts) {
    write(name, content);
    expect_error([&] { open(name); }, parts);
  };
  broken("1.txt", "a.jpg\t1\tx\ty\n", {"1.txt:1", "4 fields"});
  broken("2.txt", "", {"empty list"});
  broken("3.txt", "nowhere/a.jpg\n", {"nowhere/a.jpg", "no such file"});
  broken("4.txt", std::string("a\0b", 3), {"4.txt:1", "NUL"});
  broken("5.txt", std::string(std::size_t{2} << 20, 'x'), {"5.txt:1", "longer than"});
  broken("6.csv", "name,caption\na.jpg,x\n", {"column image", "\"name\", \"caption\""});
  broken("7.csv", "image,caption\na.jpg,x, y\n", {"7.csv:2", "found 3"});
  broken("8.csv", "image,caption\na.jpg,x\nb.jpg,\"open\nmore\n", {"8.csv:3", "never closed"});
  broken("9.csv", "image,caption\n\"a\"b.jpg,x\n", {"9.csv:2", "closing quote"});
  broken("10.csv", "image,label,caption\na.jpg,x,one\na.jpg,y,two\n", {"10.csv:3", "an earlier line"});
  broken("11.jsonl", "{\"path\": \"a.jpg\"}\nnonsense\n", {"11.jsonl:2", "no JSON"});
  broken("12.jsonl", "{\"caption\": \"a\"}\n", {"12.jsonl:1", "\"file_name\""});
  broken("13.jsonl", "{\"path\": \"a.jpg\", \"label\": 1.5}\n", {"13.jsonl:1", "label"});
  broken("14.jsonl", "{\"path\": \"a.jpg\", \"captions\": \"x\"}\n", {"14.jsonl:1", "list"});
  broken("15.jsonl", std::string(100000, '[') + "\n", {"15.jsonl:1", "no JSON"});
}

TEST_F(SourceTest, AHugeNumberIsANameNotACount) {
  write("a.jpg");
  write("list.txt", "a.jpg\t999999999999\n");
  EXPECT_EQ(open("list.txt")->classes(), (Strings{"999999999999"}));
}

TEST_F(SourceTest, MissingAndEmptyPlacesSayWhatWasFound) {
  expect_error([&] { open("no/such"); }, {"holds no \"no\"", root_.path().c_str()});
  write("packed/train.zip");
  write("packed/val.zip");
  write("packed/LICENSE");
  expect_error([&] { open("packed"); }, {"3 other files (2 .zip, 1 without ending)", "a tar archive", "shapes"});
  fs::create_directory(root_ / "empty");
  expect_error([&] { open("empty"); }, {"no files at all"});
  expect_error([&] { open("packed/LICENSE"); }, {".jsonl"});
  expect_error([&] { open("packed", SourceKind::kList); }, {"found a folder"});
  expect_error([&] { open("packed/LICENSE", SourceKind::kClasses); }, {"found a file"});
}

TEST_F(SourceTest, FingerprintFollowsTheListOfSamplesAndNotItsPlace) {
  write("one/cat/1.png");
  write("one/dog/1.png");
  const std::uint64_t before = open("one")->fingerprint();
  EXPECT_EQ(open("one")->fingerprint(), before);
  EXPECT_NE(open("one", SourceKind::kFolder)->fingerprint(), before);
  fs::rename(root_ / "one", root_ / "two");
  EXPECT_EQ(open("two")->fingerprint(), before);
  fs::rename(root_ / "two/dog/1.png", root_ / "two/dog/2.png");
  EXPECT_NE(open("two")->fingerprint(), before);
}

TEST_F(SourceTest, ImagesAreDecodedAndBrokenOnesAreBadData) {
  Image image(3, 2);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 7);
  write_png(root_ / "a.png", image);
  write("b.jpg", "junk");
  fs::create_symlink(root_ / "gone.png", root_ / "c.png");
  const auto source = open();
  EXPECT_EQ(source->image(0).pixels, image.pixels);
  for (const std::int64_t bad : {1, 2}) {
    try {
      source->image(bad);
      ADD_FAILURE() << "expected an Error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      EXPECT_NE(std::string(error.what()).find(source->name(bad)), std::string::npos) << error.what();
    }
  }
}

TEST_F(SourceTest, ShapesOfTheTwoSplitsDiffer) {
  SourceConfig config;
  config.path = "shapes";
  config.size = 20;
  config.side = 32;
  const auto train = open_source(config, Split::kTrain), val = open_source(config, Split::kVal);
  EXPECT_EQ(train->size(), 20);
  EXPECT_NE(train->fingerprint(), val->fingerprint());
  config.seed = 1;
  EXPECT_NE(open_source(config, Split::kTrain)->fingerprint(), val->fingerprint());
}

}  // namespace
}  // namespace lacuna
