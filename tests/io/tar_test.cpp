#include "io/tar.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/files.h"
#include "io/unpack.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

struct Listed {
  std::vector<TarMember> members;
  std::vector<std::string> contents;
  std::string fault;  // what ended the reading before its time

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const TarMember& member : members) all.push_back(member.name);
    return all;
  }
};

Listed list(const std::string& archive) {
  Listed listed;
  TarReader reader(
      [&archive](std::uint64_t offset, std::span<std::byte> into) {
        ASSERT_LE(offset + into.size(), archive.size());
        std::memcpy(into.data(), archive.data() + offset, into.size());
      },
      archive.size(), "a.tar");
  try {
    for (TarMember member; reader.next(member);) {
      listed.contents.push_back(archive.substr(member.offset, member.size));
      listed.members.push_back(member);
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    listed.fault = error.what();
  }
  return listed;
}

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

std::string written(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string archive;
  TarWriter writer([&archive](std::span<const std::byte> part) {
    archive.append(reinterpret_cast<const char*>(part.data()), part.size());
  });
  for (const auto& [name, content] : members) writer.add(name, bytes(content));
  writer.finish();
  EXPECT_EQ(writer.written(), archive.size());
  return archive;
}

// Makes the checksum of the header at `at` agree again.
void seal(std::string& archive, std::size_t at = 0) {
  std::memset(archive.data() + at + 148, ' ', 8);
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(archive[at + i]);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  std::memcpy(archive.data() + at + 148, digits, 7);
}

const std::string kLong(300, 'n');

TEST(Tar, WhatIsWrittenIsReadBack) {
  const std::vector<std::pair<std::string, std::string>> members{
      {"a.jpg", "hello"}, {"b/empty.txt", ""}, {kLong + ".png", std::string(70000, 'x')}, {"c", std::string(512, 'y')}};
  const Listed listed = list(written(members));
  EXPECT_EQ(listed.fault, "");
  ASSERT_EQ(listed.members.size(), members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    EXPECT_EQ(listed.members[i].name, members[i].first);
    EXPECT_EQ(listed.members[i].kind, TarKind::kFile);
    EXPECT_EQ(listed.contents[i], members[i].second);
  }
}

TEST(Tar, ReadsEveryFormatThatTheTarProgramWrites) {
  testing::TemporaryFolder folder;
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e');
  fs::create_directories(folder / "in" / deep);
  std::ofstream(folder / "in" / "a.jpg") << "first";
  std::ofstream(folder / "in" / deep / "b.jpg") << std::string(1000, 'b');
  fs::create_symlink("a.jpg", folder / "in" / "link.jpg");
  for (const std::string format : {"gnu", "oldgnu", "pax", "ustar", "v7"}) {
    const fs::path archive = folder / (format + ".tar");
    const std::string names = format == "v7" ? "a.jpg link.jpg" : "a.jpg link.jpg " + std::string(60, 'd');
    const std::string command =
        "cd " + (folder / "in").string() + " && tar --format=" + format + " -cf " + archive.string() + " " + names;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const Listed listed = list(read_file(archive, 1 << 20));
    EXPECT_EQ(listed.fault, "") << format;
    ASSERT_GE(listed.members.size(), 2u) << format;
    EXPECT_EQ(listed.contents[0], "first");
    EXPECT_EQ(listed.members[1].kind, TarKind::kLink);
    if (format == "v7") continue;
    ASSERT_EQ(listed.members.size(), 5u) << format;
    EXPECT_EQ(listed.members[2].kind, TarKind::kFolder);
    EXPECT_EQ(listed.members[4].name, deep + "/b.jpg") << format;
    EXPECT_EQ(listed.contents[4], std::string(1000, 'b'));
  }
}

TEST(Tar, TheTarProgramReadsWhatIsWritten) {
  testing::TemporaryFolder folder;
  const std::string content(100000, 'q');
  write_file_atomic(folder / "a.tar", written({{"x/" + kLong.substr(0, 120) + ".jpg", content}, {"y.txt", "why"}}));
  const std::string command = "cd " + folder.path().string() + " && tar -xf a.tar";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_file(folder / "x" / (kLong.substr(0, 120) + ".jpg"), 1 << 20), content);
  EXPECT_EQ(read_file(folder / "y.txt", 100), "why");
}

TEST(Tar, AnyCutIsNoticedOrFallsBetweenMembers) {
  const std::string whole = written({{"a.jpg", std::string(700, 'a')}, {kLong, "long"}, {"b.jpg", "b"}});
  const std::size_t members = list(whole).members.size();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Listed listed = list(whole.substr(0, size));
    EXPECT_LE(listed.members.size(), members);
    for (std::size_t i = 0; i < listed.members.size(); ++i)
      EXPECT_EQ(listed.contents[i].size(), listed.members[i].size);
    const bool between = listed.fault.empty();
    if (between && listed.members.size() < members && size > 0) {
      EXPECT_EQ(size % 512, 0u) << "a cut at byte " << size << " went unnoticed";
    }
  }
}

TEST(Tar, ADamagedHeaderIsNamedWithItsPlace) {
  std::string archive = written({{"a.jpg", "aaa"}, {"b.jpg", "bbb"}});
  archive[1024 + 5] ^= 1;
  const Listed listed = list(archive);
  EXPECT_EQ(listed.names(), std::vector<std::string>{"a.jpg"});
  EXPECT_NE(listed.fault.find("a.tar: expected the header of a member at byte 1024"), std::string::npos)
      << listed.fault;
}

TEST(Tar, SizesThatLieAreRefused) {
  const auto with_size = [](const char* field, std::size_t length) {
    std::string archive = written({{"a.jpg", "aaa"}});
    std::memcpy(archive.data() + 124, field, length);
    seal(archive);
    return list(archive).fault;
  };
  EXPECT_NE(with_size("77777777777", 12).find("claims 8589934591 bytes, but the archive ends 1536"), std::string::npos);
  EXPECT_NE(with_size("\x80\0\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12).find("claims 9223372036854775807 bytes"),
            std::string::npos);
  EXPECT_NE(with_size("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12).find("is absurd"), std::string::npos);
  EXPECT_NE(with_size("00000-00003", 12).find("expected the size of a member"), std::string::npos);
  EXPECT_NE(with_size("00000000009", 12).find("expected the size of a member"), std::string::npos);
}

TEST(Tar, DamagedPaxHeadersAreRefused) {
  const auto with_records = [](const std::string& records, char type = 'x') {
    std::string archive = written({{"pax", records}, {"b.jpg", "bbb"}});
    archive[156] = type;
    seal(archive);
    return list(archive);
  };
  EXPECT_EQ(with_records("14 path=x.jpg\n").names(), std::vector<std::string>{"x.jpg"});
  EXPECT_EQ(with_records("10 size=2\n").contents, std::vector<std::string>{"bb"});
  for (const char* bad : {"9999 path=x\n", "14 path=x.jpg", "x path=y\n", "3 \n", "11 size=-1\n", "10 sizee2\n",
                          "0 a=b\n", "18446744073709551615 a=b\n"}) {
    EXPECT_NE(with_records(bad).fault.find("PAX header at byte 0 is damaged"), std::string::npos) << bad;
  }
  EXPECT_NE(with_records("14 path=x.jpg\n", 'g').fault.find("global header"), std::string::npos);
  EXPECT_EQ(with_records("14 comment=it\n", 'g').names(), std::vector<std::string>{"b.jpg"});
  EXPECT_EQ(with_records("22 GNU.sparse.major=1\n").members.at(0).kind, TarKind::kSparse);
  EXPECT_NE(with_records(std::string((1 << 20) + 1, 'x')).fault.find("more than the limit"), std::string::npos);
}

TEST(Tar, RandomDamageNeverReadsOutside) {
  const std::string whole = written({{"a.jpg", std::string(700, 'a')}, {kLong, "long"}, {"b/c.jpg", "b"}});
  Rng rng(1, Purpose::kTest);
  for (int round = 0; round < 20000; ++round) {
    std::string archive = whole;
    for (int flips = 0; flips < 3; ++flips) {
      const auto at = static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(archive.size()) - 1));
      archive[at] = static_cast<char>(rng.bits());
    }
    for (const std::size_t header : {0u, 1536u, 2560u, 3584u}) {
      if (rng.chance(0.7)) seal(archive, header);
    }
    const Listed listed = list(archive);  // asserts on every read
    for (const TarMember& member : listed.members) EXPECT_LE(member.offset + member.size, archive.size());
  }
}

// ---- Compression

std::string unpacked(const fs::path& path, std::uint64_t limit = 1 << 24) {
  std::string all;
  unpack(path, limit, [&all](std::span<const std::byte> piece) {
    all.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return all;
}

class UnpackTest : public ::testing::TestWithParam<const char*> {
 protected:
  // The same content twice, as two streams in one file.
  fs::path packed(const std::string& content) {
    write_file_atomic(folder_ / "plain", content);
    const std::string in = folder_.path().string();
    const std::string tool = GetParam();
    const std::string command = "cd " + in + " && " + tool + " -c < plain > one && cat one one > two." + tool;
    EXPECT_EQ(std::system(command.c_str()), 0);
    return folder_ / (std::string("two.") + tool);
  }
  testing::TemporaryFolder folder_;
};

TEST_P(UnpackTest, StreamsBehindOneAnotherAreOne) {
  std::string content;
  for (int i = 0; i < 500000; ++i) content += std::to_string(i);
  if (std::system((std::string("command -v ") + GetParam() + " >/dev/null").c_str()) != 0)
    GTEST_SKIP() << GetParam() << " is not installed";
  const fs::path file = packed(content);
  EXPECT_TRUE(unpacked(file) == content + content);
  EXPECT_THROW(unpacked(file, 2 * content.size() - 1), Error);
  EXPECT_EQ(unpacked(file, 2 * content.size()).size(), 2 * content.size());
  const std::string whole = read_file(file, 1 << 24);
  for (const std::size_t part : {whole.size() - 1, whole.size() / 2 + 7, whole.size() / 3, std::size_t{5}}) {
    write_file_atomic(folder_ / "cut", whole.substr(0, part));
    EXPECT_THROW(unpacked(folder_ / "cut"), Error) << part;
  }
  write_file_atomic(folder_ / "tail", whole + "tail");
  EXPECT_THROW(unpacked(folder_ / "tail"), Error);
  write_file_atomic(folder_ / "other", "no archive at all");
  EXPECT_THROW(unpacked(folder_ / "other"), Error);
}

INSTANTIATE_TEST_SUITE_P(Tools, UnpackTest, ::testing::Values("gzip", "zstd"));

}  // namespace
}  // namespace lacuna
