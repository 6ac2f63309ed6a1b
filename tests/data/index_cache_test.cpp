#include "data/source/index_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/source/listing.h"
#include "data/source/portable_index.h"
#include "io/files.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

// A table that uses every column.
SampleTable full_table() {
  SampleTable table;
  table.archives = {"a.tar", "b.tar"};
  const Strings captions{"one", "", "three\nlines"};
  table.add("x/1.jpg", Extent{0, 512, 100}, captions);
  table.add_fault("x/2.jpg", Extent{1, 1024, 7}, "is a link");
  table.add("y/3.jpg", Extent{1, 4096, 8}, std::span(captions).first(1));
  set_folder_labels(table);
  return table;
}

TEST(SampleTable, SurvivesTheWayThroughBytes) {
  const SampleTable table = full_table();
  const SampleTable back = SampleTable::from_bytes(table.to_bytes());
  EXPECT_EQ(back.fingerprint(), table.fingerprint());
  EXPECT_EQ(back.classes, (Strings{"x", "y"}));
  EXPECT_EQ(back.labels, (std::vector<std::int32_t>{0, kNoLabel, 1}));
  EXPECT_EQ(back.fault(1), "is a link");
  EXPECT_EQ(back.fault(0), "");
  EXPECT_EQ(back.extents[2].offset, 4096u);
  EXPECT_EQ(back.caption_ends, (std::vector<std::uint64_t>{3, 3, 4}));
}

TEST(SampleTable, DamagedBytesAreRefusedOrStayInBounds) {
  const std::string whole = full_table().to_bytes();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(SampleTable::from_bytes(std::string_view(whole).substr(0, size)), Error) << size;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x81);
    try {
      const SampleTable table = SampleTable::from_bytes(damaged);
      for (std::size_t i = 0; i < table.size(); ++i) {
        EXPECT_LT(table.extents[i].archive, table.archives.size());
        EXPECT_LT(table.labels[i], std::ssize(table.classes));
        EXPECT_LE(table.caption_ends[i], table.captions.size());
      }
    } catch (const Error&) {
    }
  }
}

TEST(SampleTable, LabelsAreNumbersOnlyWhereAllAre) {
  SampleTable table;
  for (const char* name : {"1", "2", "3"}) table.add(name);
  set_labels(table, Strings{"2", "", "0"});
  EXPECT_EQ(table.classes, (Strings{"0", "1", "2"}));
  EXPECT_EQ(table.labels, (std::vector<std::int32_t>{2, -1, 0}));
  set_labels(table, Strings{"2", "b", "10"});
  EXPECT_EQ(table.classes, (Strings{"10", "2", "b"}));
}

class IndexCacheTest : public ::testing::Test {
 protected:
  void write(const std::string& relative) const {
    fs::create_directories((root_ / "data" / relative).parent_path());
    std::ofstream(root_ / "data" / relative) << "x";
  }
  // As if nothing had been touched for long.
  void age() const {
    const auto past = fs::file_time_type::clock::now() - std::chrono::hours(1);
    for (const auto& entry : fs::recursive_directory_iterator(root_ / "data")) fs::last_write_time(entry, past);
    fs::last_write_time(root_ / "data", past);
  }
  std::size_t images(const std::string& path = "data") const {
    return list_samples({.path = (root_ / path).string(), .cache = root_ / "cache"}, Split::kTrain).table.size();
  }
  std::ptrdiff_t entries() const {
    if (!fs::exists(root_ / "cache")) return 0;
    return std::distance(fs::directory_iterator(root_ / "cache"), fs::directory_iterator());
  }
  // Replaces what the cache holds, so that a test sees whether it is asked.
  void forge() const {
    const std::string key = text((root_ / "data").string(), "|0|0|");
    const IndexCache cache(root_ / "cache");
    auto kept = cache.find(key);
    ASSERT_TRUE(kept.has_value());
    kept->table.add("forged.png");
    EXPECT_EQ(cache.keep(key, *kept, IndexCache::now_ns()), std::nullopt);
  }

  testing::TemporaryFolder root_;
};

TEST_F(IndexCacheTest, IsAskedWhileNothingChanged) {
  for (const char* name : {"a/1.png", "b/c/2.png"}) write(name);
  age();
  EXPECT_EQ(images(), 2u);
  EXPECT_EQ(entries(), 1);
  forge();
  EXPECT_EQ(images(), 3u);  // the forged one is believed: the listing was not made anew
}

TEST_F(IndexCacheTest, EveryChangeOfNamesIsNoticed) {
  for (const char* name : {"a/1.png", "b/c/2.png", "b/c/3.png"}) write(name);
  const auto changed = [&](const std::function<void()>& change) {
    age();
    images();
    forge();
    change();
    return images();
  };
  EXPECT_EQ(changed([&] { write("b/c/4.png"); }), 4u);
  EXPECT_EQ(changed([&] { fs::remove(root_ / "data/a/1.png"); }), 3u);
  EXPECT_EQ(changed([&] { fs::rename(root_ / "data/b/c/2.png", root_ / "data/b/c/2.txt"); }), 2u);
  EXPECT_EQ(changed([&] { write("new/deep/folder/x.png"); }), 3u);
  EXPECT_EQ(changed([&] { fs::rename(root_ / "data/new", root_ / "data/newer"); }), 3u);
  EXPECT_EQ(changed([&] {
              fs::rename(root_ / "data/newer/deep", root_ / "elsewhere");
              fs::create_directories(root_ / "data/newer/deep");
            }),
            2u);
}

TEST_F(IndexCacheTest, WhatChangedAMomentAgoIsNotKept) {
  write("a/1.png");
  EXPECT_EQ(images(), 1u);
  EXPECT_EQ(entries(), 0);
}

TEST_F(IndexCacheTest, AWrittenListIsReadAnew) {
  write("1.png");
  write("2.png");
  std::ofstream(root_ / "data/list.txt") << "1.png\n";
  age();
  EXPECT_EQ(images("data/list.txt"), 1u);
  EXPECT_EQ(entries(), 1);
  std::ofstream(root_ / "data/list.txt", std::ios::app) << "2.png\n";
  EXPECT_EQ(images("data/list.txt"), 2u);
}

TEST_F(IndexCacheTest, ADamagedEntryIsAsGoodAsNone) {
  write("a/1.png");
  age();
  images();
  const fs::path entry = fs::directory_iterator(root_ / "cache")->path();
  const std::string whole = read_file(entry, 1 << 20);
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file_atomic(entry, damaged);
    EXPECT_EQ(images(), 1u) << at;
  }
  write_file_atomic(entry, "");
  EXPECT_EQ(images(), 1u);
}

TEST_F(IndexCacheTest, ACacheThatCannotBeWrittenIsSaidAndNoFault) {
  write("a/1.png");
  age();
  std::ofstream(root_ / "cache") << "a file is in the way";
  const Listing listing = list_samples({.path = (root_ / "data").string(), .cache = root_ / "cache"}, Split::kTrain);
  EXPECT_EQ(listing.table.size(), 1u);
  EXPECT_NE(listing.notes.back().find("could not be kept"), std::string::npos) << listing.notes.back();
}

TEST(PortableIndex, CountsWhileSizesAgree) {
  testing::TemporaryFolder folder;
  SampleTable table = full_table();
  for (const std::string& archive : table.archives) std::ofstream(folder / archive) << "x";
  write_portable_index(folder, table);
  std::string note;
  const auto back = read_portable_index(folder, note);
  ASSERT_TRUE(back.has_value()) << note;
  EXPECT_EQ(back->fingerprint(), table.fingerprint());
  std::ofstream(folder / "a.tar", std::ios::app) << "y";
  EXPECT_FALSE(read_portable_index(folder, note).has_value());
  EXPECT_NE(note.find("another size"), std::string::npos) << note;
  table.archives[0] = "../a.tar";
  write_portable_index(folder, table);
  EXPECT_FALSE(read_portable_index(folder, note).has_value());
  EXPECT_NE(note.find("outside"), std::string::npos) << note;
}

}  // namespace
}  // namespace lacuna
