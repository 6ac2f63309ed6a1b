#include "io/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

class Files : public ::testing::Test {
 protected:
  std::ptrdiff_t entries() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }

  testing::TemporaryFolder folder_;
};

std::string sentence_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST_F(Files, WhatIsWrittenIsReadBack) {
  for (const std::string& content : {std::string(), std::string("a\0b\n", 4), std::string(9 << 20, 'x')}) {
    write_file_atomic(folder_ / "file", content);
    EXPECT_TRUE(read_file(folder_ / "file", 16 << 20) == content);
  }
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, ReadsAreBoundedAndOfRegularFilesOnly) {
  write_file_atomic(folder_ / "file", "12345");
  EXPECT_EQ(read_file(folder_ / "file", 5), "12345");
  EXPECT_NE(sentence_of([&] { read_file(folder_ / "file", 4); }).find("expected at most 4 bytes, found 5"),
            std::string::npos);
  EXPECT_NE(sentence_of([&] { read_file(folder_ / "absent", 4); }).find("absent: cannot open"), std::string::npos);
  EXPECT_NE(sentence_of([&] { read_file(folder_, 4); }).find("expected a regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_NE(sentence_of([&] { read_file(folder_ / "pipe", 4); }).find("expected a regular file"), std::string::npos);
}

long mapped_kilobytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssFile:")) return std::stol(line.substr(8));
  }
  return 0;
}

TEST_F(Files, PagesOfAMappedFileAreLetGoAndComeBack) {
  const std::string content(32 << 20, 'x');
  write_file_atomic(folder_ / "file", content);
  const MappedFile file(folder_ / "file");
  const auto hash = [&] {
    ContentHash out;
    out.update(file.bytes());
    return out.hex();
  };
  const long before = mapped_kilobytes();
  const std::string once = hash();
  EXPECT_GT(mapped_kilobytes() - before, 30 << 10);
  file.let_go(file.bytes().subspan(1));
  EXPECT_LT(mapped_kilobytes() - before, 2 << 10);
  EXPECT_EQ(hash(), once);

  const std::string own(1 << 20, 'y');  // memory that is not the file's would come back as zeros
  file.let_go(bytes_of(own));
  EXPECT_EQ(own.find_first_not_of('y'), std::string::npos);
}

TEST_F(Files, AnAtomicFileAppearsOnlyWhenCommitted) {
  write_file_atomic(folder_ / "file", "old");
  {
    AtomicFile abandoned(folder_ / "file", 3);
    abandoned.write(bytes_of("new"));
    EXPECT_EQ(read_file(folder_ / "file", 9), "old");
  }
  EXPECT_EQ(read_file(folder_ / "file", 9), "old");
  AtomicFile kept(folder_ / "file", 3);
  kept.write(bytes_of("ne"));
  kept.write(bytes_of("w"));
  kept.commit();
  EXPECT_EQ(read_file(folder_ / "file", 9), "new");
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, TwoWritersOfOneNameDoNotMix) {
  AtomicFile first(folder_ / "file", 1), second(folder_ / "file", 1);
  first.write(bytes_of("1"));
  second.write(bytes_of("22"));
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(folder_ / "file", 9), "1");
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, WritersNameWhatStandsInTheWay) {
  EXPECT_NE(sentence_of([&] { write_file_atomic(folder_ / "no/file", "x"); }).find("does not exist; create it first"),
            std::string::npos);
  EXPECT_NE(sentence_of([&] { write_file_atomic(folder_, "x"); }).find("found a folder"), std::string::npos);
  EXPECT_NE(sentence_of([&] { AtomicFile(folder_ / "big", UINT64_MAX); }).find("18446744073709551615 bytes are needed"),
            std::string::npos);
  EXPECT_EQ(entries(), 0);
}

// A limit on file sizes stands in for a disk that fills up meanwhile.
TEST_F(Files, AFailedWriteIsToldAndLeavesTheOldFile) {
  write_file_atomic(folder_ / "file", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string sentence = sentence_of([&] { write_file_atomic(folder_ / "file", std::string(10'000, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE(sentence.find("file: cannot write the file (10000 bytes are needed): "), std::string::npos) << sentence;
  EXPECT_EQ(read_file(folder_ / "file", 9), "old");
  EXPECT_EQ(entries(), 1);
}

// The published XXH3-128 of no bytes.
TEST_F(Files, TheHashIsXxh3Of128Bits) {
  EXPECT_EQ(ContentHash().hex(), "99aa06d3014798d86001c324468d497f");
  write_file_atomic(folder_ / "file", "");
  EXPECT_EQ(hash_file(folder_ / "file"), "99aa06d3014798d86001c324468d497f");
}

TEST_F(Files, TheHashDoesNotDependOnHowTheBytesCome) {
  std::string content(10 << 20, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + (i >> 8));
  AtomicFile file(folder_ / "file", content.size());
  file.write(bytes_of(content).first(5));
  file.write(bytes_of(content).subspan(5));
  const std::string hash = file.commit();
  EXPECT_EQ(hash, hash_file(folder_ / "file"));
  content.back() = static_cast<char>(content.back() ^ 1);
  ContentHash other;
  other.update(bytes_of(content));
  EXPECT_NE(other.hex(), hash);
}

TEST_F(Files, JsonRoundTrips) {
  const nlohmann::json value = {{"name", "ü"}, {"list", {1, 2.5, nullptr, true}}, {"inner", {{"k", -1}}}};
  write_json_atomic(folder_ / "value.json", value);
  EXPECT_EQ(read_json(folder_ / "value.json"), value);
  EXPECT_NE(sentence_of([&] { write_json_atomic(folder_ / "bad.json", "\xFF"); }).find("bad.json"), std::string::npos);
}

TEST_F(Files, JsonFaultsNameFileLineAndColumn) {
  const auto fault = [&](const std::string& content) {
    write_file_atomic(folder_ / "value.json", content);
    return sentence_of([&] { read_json(folder_ / "value.json"); });
  };
  const std::string sentence = fault("{\n  \"a\": 1,\n  \"b\": x\n}");
  EXPECT_NE(sentence.find("value.json: expected JSON, but at line 3, column 8: "), std::string::npos) << sentence;
  EXPECT_NE(fault("").find("line 1, column 1"), std::string::npos);
  EXPECT_NE(fault("{} x").find("line 1, column 4"), std::string::npos);
  EXPECT_NE(fault(std::string("{}\0{", 4)).find("a zero byte"), std::string::npos);
  EXPECT_NE(fault("\"\xFF\"").find("line 1"), std::string::npos);
  EXPECT_NE(fault("1e999").find("value.json: expected JSON"), std::string::npos);
}

TEST_F(Files, JsonDepthIsBounded) {
  const auto nested = [&](std::size_t depth) {
    write_file_atomic(folder_ / "deep.json", std::string(depth, '[') + std::string(depth, ']'));
    return sentence_of([&] { read_json(folder_ / "deep.json"); });
  };
  EXPECT_EQ(nested(64), "");
  EXPECT_NE(nested(66).find("nested at most 64 deep"), std::string::npos);
  EXPECT_NE(nested(1'000'000).find("nested at most 64 deep"), std::string::npos);
}

TEST_F(Files, RemoveTreeTakesAllBelowButFollowsNoLink) {
  std::filesystem::create_directories(folder_ / "tree/inner");
  write_file_atomic(folder_ / "kept", "x");
  std::filesystem::create_symlink(folder_ / "kept", folder_ / "tree/link");
  write_file_atomic(folder_ / "tree/inner/file", "x");
  remove_tree(folder_ / "tree");
  remove_tree(folder_ / "tree");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "tree"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "kept"));
}

TEST_F(Files, SyncingAnAbsentFolderIsAnError) { EXPECT_THROW(sync_directory(folder_ / "absent"), Error); }

TEST_F(Files, FreeBytesAreThoseOfTheNearestExistingParent) {
  EXPECT_GT(free_bytes(folder_), 0u);
  EXPECT_GT(free_bytes(folder_ / "not/yet/there"), 0u);
}

TEST_F(Files, WriteSpeedIsMeasuredAndLeavesNothing) {
  EXPECT_GT(measure_write_speed(folder_, 5 << 20), 0.0);
  EXPECT_EQ(entries(), 0);
}

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("a\x1b[31m\xC3\n"), "a\\x1b[31m\\xc3\\x0a");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(FolderLock, RefusesASecondHolderUntilTheFirstIsGone) {
  const testing::TemporaryFolder folder;
  {
    const FolderLock first(folder.path());
    EXPECT_THROW(FolderLock second(folder.path()), Error);
  }
  const FolderLock again(folder.path());
}

}  // namespace
}  // namespace lacuna
