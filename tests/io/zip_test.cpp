#include "io/tensor/zip.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

using testing::zip_of;
using testing::ZipEnd;
using testing::ZipPart;

std::span<const std::byte> span_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

std::string text_of(const ZipEntry& entry) {
  return {reinterpret_cast<const char*>(entry.data.data()), entry.data.size()};
}

// The sentence with which the archive is refused, or "".
std::string refusal(const std::string& bytes) {
  try {
    ZipArchive(span_of(bytes), "FILE");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    const std::string sentence = error.what();
    EXPECT_EQ(sentence.rfind("FILE: ", 0), 0u) << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    return sentence;
  }
}

const std::vector<ZipPart> kGood = {
    {.name = "a/x", .data = "first"}, {.name = "a/y", .data = ""}, {.name = "b", .data = "third"}};

TEST(Zip, EntriesAreFoundInEveryFormOfRecord) {
  for (const bool descriptor : {false, true}) {
    for (const bool wide : {false, true}) {
      for (const bool wide_end : {false, true}) {
        std::vector<ZipPart> parts = kGood;
        for (ZipPart& part : parts) part.descriptor = descriptor, part.wide = wide;
        const std::string bytes = zip_of(parts, {.wide = wide_end});
        ASSERT_TRUE(begins_like_zip(span_of(bytes)));
        const ZipArchive archive(span_of(bytes), "FILE");
        ASSERT_EQ(archive.entries().size(), 3u);
        for (std::size_t i = 0; i < parts.size(); ++i) {
          EXPECT_EQ(archive.entries()[i].name, parts[i].name);
          EXPECT_EQ(text_of(archive.entries()[i]), parts[i].data);
          archive.verify(archive.entries()[i]);
          EXPECT_EQ(archive.find(parts[i].name), &archive.entries()[i]);
        }
        EXPECT_EQ(archive.find("c"), nullptr);
      }
    }
  }
  EXPECT_EQ(refusal(zip_of({})), "");
}

TEST(Zip, AChecksumIsComparedOnRequestUnlessItIsZero) {
  const std::string wrong = zip_of({{.name = "a", .data = "data", .crc = 1}});
  const ZipArchive archive(span_of(wrong), "FILE");
  EXPECT_THROW(archive.verify(archive.entries()[0]), Error);
  const std::string none = zip_of({{.name = "a", .data = "data", .crc = 0}});
  const ZipArchive trusted(span_of(none), "FILE");
  EXPECT_NO_THROW(trusted.verify(trusted.entries()[0]));
}

struct Broken {
  std::string bytes, sentence;
};

ZipPart with(const std::function<void(ZipPart&)>& change, const ZipPart& base = {.name = "a", .data = "data"}) {
  ZipPart out = base;
  change(out);
  return out;
}

TEST(Zip, EveryBrokenRuleIsNamed) {
  const std::string good = zip_of(kGood), wide = zip_of(kGood, {.wide = true});
  std::string wide_locator = wide, wide_magic = wide, contradiction = wide;
  const std::size_t locator = wide.size() - 22 - 20;
  wide_locator.replace(locator + 8, 8, testing::little<std::uint64_t>(wide.size()));
  wide_magic.replace(locator - 56, 1, "X");
  contradiction.replace(wide.size() - 22 + 10, 2, testing::little<std::uint16_t>(7));
  std::string wide_size = wide;
  wide_size.replace(locator - 56 + 4, 8, testing::little<std::uint64_t>(45));
  const std::string long_name(4097, 'n');
  const Broken broken[] = {
      {"PK", "expected an end record of 22 bytes, found 2 bytes"},
      {good.substr(0, good.size() - 1), "expected its end record in the last 22 bytes, found none"},
      {good + "x", "or something follows it"},
      {zip_of(kGood, {.before = "PK\3\4"}), "its first entry begins at 4"},
      {"x" + good, "expected a directory that ends where the end record begins"},
      {zip_of(kGood, {.disk = 1}), "one of several parts"},
      {zip_of(kGood, {.entries_here = 2}), "one of several parts"},
      {zip_of(kGood, {.offset = 0}), "expected a directory that ends where the end record begins"},
      {zip_of(kGood, {.offset = 0xfffffff0}), "expected a directory that ends where the end record begins"},
      {zip_of(kGood, {.entries = 4}), "expected another entry of the directory"},
      {zip_of(kGood, {.entries = 2}), "more than its 2 entries"},
      {wide_locator, "expected a 64-bit end record of 56 bytes at"},
      {wide_magic, "expected a 64-bit end record at"},
      {wide_size, "expected the 64-bit end record to end where its locator begins"},
      {contradiction, "two end records contradict each other"},
      {zip_of({with([](ZipPart& p) { p.flags = p.local_flags = 1; })}), "'a' is encrypted"},
      {zip_of({with([](ZipPart& p) { p.packed = 3; })}), "'a': a stored entry of 4 bytes that takes 3"},
      {zip_of({with([](ZipPart& p) { p.size = 3; })}), "'a': its local header contradicts the directory"},
      {zip_of({with([](ZipPart& p) { p.local_size = 3; })}), "'a': its local header contradicts the directory"},
      {zip_of({with([](ZipPart& p) { p.local_flags = 9; })}), "'a': its local header contradicts the directory"},
      {zip_of({with([](ZipPart& p) { p.local_name = "b"; })}), "'a': its local header names 'b' instead"},
      {zip_of({with([](ZipPart& p) { p.offset = 1; })}), "'a': expected its local header at 1, found none"},
      {zip_of({with([](ZipPart& p) { p.offset = 0xffff; })}), "expected a local header of 30 bytes at 65535, but the"},
      {zip_of({with([](ZipPart& p) { p.offset = 0xffffffff; })}), "at 4294967295, but the file ends"},
      {zip_of({with([](ZipPart& p) { p.wide = true, p.extra = testing::little<std::uint32_t>(1); })}),
       "'a': expected 64-bit sizes in its extra field, found none"},
      {zip_of({with([](ZipPart& p) { p.extra = testing::little<std::uint32_t>(2 | 9 << 16); })}),
       "'a': its extra field is cut off"},
      {zip_of({with([](ZipPart& p) { p.size = p.local_size = 100; })}), "'a': expected 100 bytes from 31 on"},
      {zip_of({with([](ZipPart& p) { p.size = p.local_size = 20; })}),
       "'a': expected 20 bytes from 31 on, but the directory begins at 35"},
      {zip_of({with([](ZipPart& p) { p.descriptor = true, p.size = 0xfffffff0; })}), "bytes from 31 on, but the"},
      {zip_of({with([](ZipPart& p) { p.name = ""; })}), "expected names of 1 to 4096 bytes, found one of 0"},
      {zip_of({with([&](ZipPart& p) { p.name = long_name; })}), "expected names of 1 to 4096 bytes, found one of 4097"},
      {zip_of({kGood[0], kGood[0]}), "expected each name once, found 'a/x' twice"},
  };
  for (const Broken& each : broken) {
    const std::string sentence = refusal(each.bytes);
    EXPECT_NE(sentence.find(each.sentence), std::string::npos)
        << "expected: " << each.sentence << "\nfound:    " << sentence;
  }
}

// "aaaaaaaaaa", deflated by zlib.
const std::string kDeflated("\x4b\x4c\x84\x01\x00", 5);

ZipPart deflated(std::uint32_t size) {
  return {.name = "a", .data = kDeflated, .method = 8, .packed = 5, .size = size, .local_size = size};
}

TEST(Zip, CompressedEntriesAreUnpackedIntoBoundedMemoryOrRefused) {
  const std::string bytes = zip_of({deflated(10)});
  const ZipArchive archive(span_of(bytes), "FILE");
  const ZipEntry& entry = *archive.find("a");
  EXPECT_EQ(archive.content(entry, 10), std::string(10, 'a'));
  EXPECT_EQ(archive.content(entry, 9), std::nullopt);
  EXPECT_THROW(archive.find_stored("a"), Error);
  EXPECT_EQ(archive.find_stored("b"), nullptr);
  for (const std::uint32_t lie : {9u, 11u, 0u}) {
    const std::string wrong = zip_of({deflated(lie)});
    const ZipArchive liar(span_of(wrong), "FILE");
    EXPECT_THROW(liar.content(*liar.find("a"), 100), Error) << lie;
  }
  const std::string other = zip_of({with([](ZipPart& p) { p.method = 14; })});
  const ZipArchive packed(span_of(other), "FILE");
  EXPECT_EQ(packed.content(*packed.find("a"), 100), std::nullopt);
}

TEST(Zip, EntriesThatShareBytesAreRefusedAndRoomBetweenThemIsNot) {
  const std::string nested = testing::zip_local({.name = "in", .data = "x"});
  const std::string bytes = zip_of({{.name = "out", .data = nested}, {.name = "in", .data = "x", .offset = 30 + 3}});
  EXPECT_NE(refusal(bytes).find("'in' overlaps 'out'"), std::string::npos) << refusal(bytes);
  EXPECT_EQ(refusal(zip_of(kGood, {.before_directory = "room"})), "");
}

}  // namespace
}  // namespace lacuna
