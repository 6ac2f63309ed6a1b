#include "data/source/archive_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/source/archive_listing.h"
#include "data/source/joined_source.h"
#include "data/source/open_source.h"
#include "io/files.h"
#include "io/image/png_writer.h"
#include "io/tar.h"
#include "support/shared.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

std::string png(int value) {
  Image image(4, 3);
  std::fill(image.pixels.begin(), image.pixels.end(), static_cast<std::uint8_t>(value));
  const std::vector<std::uint8_t> bytes = encode_png(image);
  return {bytes.begin(), bytes.end()};
}

class ArchiveTest : public ::testing::Test {
 protected:
  using Members = std::vector<std::pair<std::string, std::string>>;

  fs::path write(const std::string& name, const Members& members) const {
    std::string archive;
    TarWriter writer([&archive](std::span<const std::byte> part) {
      archive.append(reinterpret_cast<const char*>(part.data()), part.size());
    });
    for (const auto& [member, content] : members)
      writer.add(member, std::as_bytes(std::span(content.data(), content.size())));
    writer.finish();
    fs::create_directories((root_ / name).parent_path());
    write_file_atomic(root_ / name, archive);
    return root_ / name;
  }

  std::unique_ptr<Source> open(const std::string& path, Split split = Split::kTrain,
                               SourceKind kind = SourceKind::kAuto) {
    notes_.clear();
    return open_source({.path = (root_ / path).string(), .kind = kind, .cache = cache_}, split, &notes_);
  }

  Strings names(const Source& source) const {
    Strings all;
    for (std::int64_t i = 0; i < source.size(); ++i)
      all.push_back(fs::path(source.name(i)).lexically_relative(root_).string());
    return all;
  }

  static std::string caption(const Source& source, std::int64_t index) {
    Rng rng(0, Purpose::kTest);
    return source.caption(index, rng);
  }

  static std::string fault(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "no Error was thrown";
  }
  void expect_bad(const Source& source, std::int64_t index, const std::string& part) {
    try {
      source.image(index);
      ADD_FAILURE() << source.name(index) << " was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(source.name(index)), std::string::npos) << error.what();
    }
  }

  testing::TemporaryFolder root_;
  fs::path cache_;
  Strings notes_;
};

TEST(Braces, StandForEveryName) {
  EXPECT_EQ(expand_braces("a-{08..11}.tar"), (Strings{"a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"}));
  EXPECT_EQ(expand_braces("{x,y}{1..2}"), (Strings{"x1", "x2", "y1", "y2"}));
  EXPECT_EQ(expand_braces("plain.tar"), Strings{"plain.tar"});
  for (const char* bad : {"a{1..", "a{2..1}", "a{x..y}", "{0..9999999}", "{0..999}{0..9999}"})
    EXPECT_THROW(expand_braces(bad), Error) << bad;
}

TEST_F(ArchiveTest, MembersOfOneKeyAreOneSample) {
  write("a-000.tar", {{"000.jpg", png(1)},
                      {"000.txt", " a cat \n"},
                      {"000.cls", "3"},
                      {"001.cls", "1"},
                      {"001.png", png(2)},
                      {"001.json", R"({"caption": "a dog", "width": 4})"},
                      {"001.seg.png", png(9)}});
  write("a-001.tar", {{"002.json", R"({"text": "json", "label": 0})"},
                      {"002.caption", "own"},
                      {"002.webp", png(3)},
                      {"._002.jpg", "resource fork"},
                      {"notes.md", "x"},
                      {"003.jpg", png(4)}});
  const auto source = open("a-{000..001}.tar");
  EXPECT_EQ(names(*source),
            (Strings{"a-000.tar:000.jpg", "a-000.tar:001.png", "a-001.tar:002.webp", "a-001.tar:003.jpg"}));
  EXPECT_EQ(source->classes(), (Strings{"0", "1", "2", "3"}));
  for (const auto& [index, label] : {std::pair{0, 3}, {1, 1}, {2, 0}, {3, -1}}) EXPECT_EQ(source->label(index), label);
  EXPECT_EQ(caption(*source, 0), "a cat");
  EXPECT_EQ(caption(*source, 1), "a dog");
  EXPECT_EQ(source->captions(2), Strings{"own"});
  EXPECT_EQ(source->image(2).pixels, std::vector<std::uint8_t>(36, 3));
  EXPECT_EQ(fault([&] { open("a-{000..004}.tar"); }).find("data.path"), 0u);
}

TEST_F(ArchiveTest, AListNamesMembersOfArchivesOrFilesOfAnotherFolder) {
  write("p-0.tar", {{"images/a.png", png(1)}, {"images/b.png", png(2)}});
  write("p-1.tar", {{"images/c.png", png(3)}, {"images/unlisted.png", png(4)}});
  write_file_atomic(root_ / "list.csv",
                    "image,label,caption\nc.png,7,one\nimages/a.png,,two\nc.png,7,three\nx.png,,four\n");
  SourceConfig config{.path = (root_ / "list.csv").string(), .images = (root_ / "p-{0..1}.tar").string()};
  const auto source = open_source(config, Split::kTrain, &notes_);
  EXPECT_EQ(names(*source), (Strings{"p-1.tar:c.png", "p-0.tar:images/a.png", "p-0.tar:x.png"}));
  EXPECT_EQ(source->image(0).pixels, std::vector<std::uint8_t>(36, 3));
  EXPECT_EQ(source->image(1).pixels, std::vector<std::uint8_t>(36, 1));
  EXPECT_EQ(source->captions(0), (Strings{"one", "three"}));
  EXPECT_EQ(source->label(0), 7);
  EXPECT_EQ(source->label(1), kNoLabel);
  expect_bad(*source, 2, "no such member");
  write_file_atomic(root_ / "wrong.txt", "nothing.png\n");
  config.path = (root_ / "wrong.txt").string();
  EXPECT_NE(fault([&] { open_source(config, Split::kTrain); }).find("data.images"), std::string::npos);

  fs::create_directories(root_ / "elsewhere");
  write_file_atomic(root_ / "elsewhere/c.png", png(5));
  config = {.path = (root_ / "list.csv").string(), .images = (root_ / "elsewhere").string()};
  EXPECT_EQ(open_source(config, Split::kTrain)->image(0).pixels, std::vector<std::uint8_t>(36, 5));
  config.path = (root_ / "elsewhere").string();
  EXPECT_NE(fault([&] { open_source(config, Split::kTrain); }).find("serves a list"), std::string::npos);
}

TEST_F(ArchiveTest, ATreeInAnArchiveReadsLikeAFolder) {
  write("data.tar", {{"./set/train/dog/1.png", png(1)},
                     {"./set/train/cat/1.png", png(2)},
                     {"./set/val/cat/9.png", png(3)},
                     {"./set/val/dog/9.png", png(4)}});
  const auto train = open("data.tar"), val = open("data.tar", Split::kVal);
  EXPECT_EQ(train->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(names(*train), (Strings{"data.tar:set/train/dog/1.png", "data.tar:set/train/cat/1.png"}));
  EXPECT_EQ(train->label(0), 1);
  EXPECT_EQ(names(*val), (Strings{"data.tar:set/val/cat/9.png", "data.tar:set/val/dog/9.png"}));
  EXPECT_TRUE(has_splits({.path = (root_ / "data.tar").string()}));
  EXPECT_TRUE(open("data.tar", Split::kTrain, SourceKind::kFolder)->classes().empty());
  write("flat.tar", {{"images/1.png", png(1)}, {"images/2.png", png(1)}});
  EXPECT_TRUE(open("flat.tar")->classes().empty());
  EXPECT_FALSE(has_splits({.path = (root_ / "flat.tar").string()}));
}

TEST_F(ArchiveTest, FaultsOfATreeBelongToEverySplitAndToNoClass) {
  const fs::path path = write("data.tar", {{"train/dog/1.png", png(1)},
                                           {"train/cat/1.png", png(2)},
                                           {"val/cat/9.png", png(3)},
                                           {"val/dog/9.png", png(4)},
                                           {"../x/y.png", png(4)},
                                           {"train/dog/1.png", png(4)}});
  std::ofstream(path, std::ios::app) << "cut";
  std::string content = read_file(path, 1 << 20);
  write_file_atomic(path, content.substr(0, content.size() - 1024 - 3) + std::string(600, 'j'));
  const auto train = open("data.tar"), val = open("data.tar", Split::kVal);
  EXPECT_EQ(names(*train), (Strings{"data.tar:train/dog/1.png", "data.tar:train/cat/1.png", "data.tar:../x/y.png",
                                    "data.tar:train/dog/1.png", "data.tar:from byte 6144 on"}));
  EXPECT_EQ(val->size(), 4);
  EXPECT_EQ(train->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(train->label(2), kNoLabel);
  EXPECT_EQ(train->label(4), kNoLabel);
}

TEST_F(ArchiveTest, AFolderOfArchivesIsReadAndItsNamesTellTheSplits) {
  write("set/train-0.tar", {{"a.png", png(1)}});
  write("set/train-1.tar", {{"b.png", png(2)}});
  write("set/val.tar", {{"c.png", png(3)}});
  EXPECT_EQ(names(*open("set")), (Strings{"set/train-0.tar:a.png", "set/train-1.tar:b.png"}));
  EXPECT_EQ(names(*open("set", Split::kVal)), Strings{"set/val.tar:c.png"});
  EXPECT_TRUE(has_splits({.path = (root_ / "set").string()}));
  fs::create_directories(root_ / "set/extra");
  std::ofstream(root_ / "set/extra/x.png") << png(7);
  EXPECT_EQ(names(*open("set")), Strings{"set/extra/x.png"});
  EXPECT_NE(notes_.front().find("3 archives"), std::string::npos) << notes_.front();
  EXPECT_EQ(open("set", Split::kTrain, SourceKind::kArchives)->size(), 2);
}

TEST_F(ArchiveTest, WhatCannotBeUsedIsASampleThatSaysSo) {
  fs::create_directories(root_ / "in");
  std::ofstream(root_ / "in/a.png") << png(1);
  fs::create_symlink("/etc/passwd", root_ / "in/link.png");
  ASSERT_EQ(mkfifo((root_ / "in/pipe.png").c_str(), 0600), 0);
  const std::string in = (root_ / "in").string(), tar = (root_ / "odd.tar").string();
  ASSERT_EQ(std::system(("cd " + in + " && tar -cf " + tar + " a.png link.png pipe.png && tar -rf " + tar +
                         " a.png && tar -rPf " + tar + " --transform='s,^a.png,../x.png,' a.png && tar -rPf " + tar +
                         " --transform='s,^a.png,/etc/y.png,' a.png")
                            .c_str()),
            0);
  const auto source = open("odd.tar");
  ASSERT_EQ(source->size(), 6);
  EXPECT_NO_THROW(source->image(0));
  expect_bad(*source, 1, "is a link");
  expect_bad(*source, 2, "device, pipe");
  expect_bad(*source, 3, "holds this name twice");
  expect_bad(*source, 4, "leads out of the archive");
  expect_bad(*source, 5, "name is absolute");
  EXPECT_NE(notes_.back().find("5 members"), std::string::npos) << notes_.back();
}

TEST_F(ArchiveTest, DamageLosesTheRestAndIsNamed) {
  const fs::path path = write("d.tar", {{"a.png", png(1)}, {"b.png", png(2)}, {"c.png", png(3)}});
  std::string content = read_file(path, 1 << 20);
  content[1024 + 3] ^= 8;
  write_file_atomic(path, content);
  const auto source = open("d.tar");
  EXPECT_EQ(names(*source), (Strings{"d.tar:a.png", "d.tar:from byte 1024 on"}));
  expect_bad(*source, 1, "checksum");
  write_file_atomic(path, "this is no tar at all" + std::string(2000, 'x'));
  EXPECT_NE(fault([&] { open("d.tar"); }).find("d.tar"), std::string::npos);
  write_file_atomic(path, "");
  EXPECT_NE(fault([&] { open("d.tar"); }).find("found none"), std::string::npos);
}

TEST_F(ArchiveTest, OneUnreadableArchiveOfManyIsOneBadSample) {
  write("s-0.tar", {{"a.png", png(1)}});
  std::ofstream(root_ / "s-1.tar") << std::string(2000, 'x');
  write("s-2.tar", {{"b.png", png(2)}});
  const auto source = open("s-{0..2}.tar");
  EXPECT_EQ(names(*source), (Strings{"s-0.tar:a.png", "s-1.tar:the whole archive", "s-2.tar:b.png"}));
  expect_bad(*source, 1, "s-1.tar");
  EXPECT_NO_THROW(source->image(2));
  EXPECT_NE(fault([&] { open("s-1.tar"); }).find("expected the checksum"), std::string::npos);
}

TEST_F(ArchiveTest, BadMetadataIsTheSamplesFault) {
  write("m.tar", {{"a.png", png(1)},
                  {"a.json", "{not json"},
                  {"b.png", png(2)},
                  {"b.txt", std::string(1100000, 'x')},
                  {"c.png", png(3)},
                  {"c.json", "[1,2]"}});
  const auto source = open("m.tar");
  expect_bad(*source, 0, "a.json is no JSON");
  expect_bad(*source, 1, "b.txt has 1100000 bytes");
  EXPECT_NO_THROW(source->image(2));
}

TEST_F(ArchiveTest, AChangedArchiveIsNoticedAndADeletedOneReadOn) {
  const fs::path path = write("a.tar", {{"a.png", png(1)}, {"b.png", png(2)}});
  const auto source = open("a.tar");
  EXPECT_NO_THROW(source->image(0));
  fs::rename(path, root_ / "gone.tar");
  EXPECT_NO_THROW(source->image(1));
  std::ofstream(root_ / "gone.tar", std::ios::app) << "more";
  expect_bad(*source, 1, "was changed");
  write("a.tar", {{"b.png", png(2)}});
  const auto other = open("a.tar");
  fs::remove(path);
  expect_bad(*other, 0, "cannot be opened");
}

TEST_F(ArchiveTest, CompressedArchivesAreUnpackedOnceIntoTheCache) {
  write("c.tar", {{"train/cat/1.png", png(1)}, {"train/dog/1.png", png(2)}, {"test/cat/1.png", png(3)}});
  ASSERT_EQ(std::system(("gzip " + (root_ / "c.tar").string()).c_str()), 0);
  EXPECT_NE(fault([&] { open("c.tar.gz"); }).find("gzip -dk "), std::string::npos);
  cache_ = root_ / "cache";
  const auto source = open("c.tar.gz");
  EXPECT_EQ(names(*source), (Strings{"c.tar.gz:train/cat/1.png", "c.tar.gz:train/dog/1.png"}));
  EXPECT_EQ(names(*open("c.tar.gz", Split::kVal)), Strings{"c.tar.gz:test/cat/1.png"});
  EXPECT_EQ(source->image(1).pixels[0], 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(cache_ / "unpacked"), fs::directory_iterator()), 1);
}

TEST_F(ArchiveTest, FingerprintsFollowNamesAndNotPlaces) {
  write("x/a.tar", {{"a.png", png(1)}, {"a.txt", "one"}});
  write("y/a.tar", {{"a.png", png(1)}, {"a.txt", "one"}});
  write("z/a.tar", {{"a.png", png(1)}, {"a.txt", "two"}});
  EXPECT_EQ(open("x/a.tar")->fingerprint(), open("y/a.tar")->fingerprint());
  EXPECT_NE(open("x/a.tar")->fingerprint(), open("z/a.tar")->fingerprint());
}

TEST_F(ArchiveTest, NamedAsImagesAnArchiveIsReadWholeWithoutLabels) {
  write("data.tar", {{"train/dog/1.png", png(1)}, {"val/cat/9.png", png(3)}});
  std::ofstream(root_ / "one.png") << png(7);
  const Strings paths{(root_ / "one.png").string(), (root_ / "data.tar").string()};
  const auto images = open_images(paths, {});
  ASSERT_EQ(images->size(), 3);
  EXPECT_EQ(images->image(2).pixels[0], 3);
  EXPECT_TRUE(images->classes().empty());
  EXPECT_EQ(images->label(2), kNoLabel);
}

TEST_F(ArchiveTest, RealArchivesReadWhole) {
  LACUNA_NEEDS_SHARED("data/cifar10/cifar10-jpeg.tar.gz");
  const fs::path data = testing::shared_folder() / "data";
  const SourceConfig cifar{.path = (data / "cifar10/cifar10-jpeg.tar.gz").string(), .cache = root_ / "cache"};
  const auto train = open_source(cifar, Split::kTrain), test = open_source(cifar, Split::kVal);
  EXPECT_EQ(train->size(), 50000);
  EXPECT_EQ(test->size(), 10000);
  EXPECT_EQ(train->classes().size(), 10u);
  EXPECT_EQ(train->image(49999).width, 32);
  const SourceConfig imagenette{.path = (data / "imagenette224").string()};
  const auto nette = open_source(imagenette, Split::kTrain), val = open_source(imagenette, Split::kVal);
  EXPECT_EQ(nette->size(), 2150);
  EXPECT_EQ(val->size(), 600);
  EXPECT_EQ(nette->classes().at(0), "tench");
  EXPECT_EQ(nette->classes(), val->classes());
  EXPECT_EQ(nette->image(7).height, 224);
}

}  // namespace
}  // namespace lacuna
