// PNG of every kind, by the two ways that its image data can take.
#include <gtest/gtest.h>
#include <libdeflate.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/image/image.h"
#include "support/golden_image.h"

namespace lacuna {
namespace {

using Content = std::vector<std::uint8_t>;

void put(Content& out, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(number >> shift));
}

void put_chunk(Content& out, std::string_view type, const Content& data) {
  put(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  put(out, libdeflate_crc32(0, &out[start], out.size() - start));
}

struct Kind {
  unsigned colour, depth, channels;
};

constexpr std::array kKinds = {Kind{0, 1, 1}, Kind{0, 2, 1},  Kind{0, 4, 1},  Kind{0, 8, 1}, Kind{0, 16, 1},
                               Kind{2, 8, 3}, Kind{2, 16, 3}, Kind{3, 1, 1},  Kind{3, 2, 1}, Kind{3, 4, 1},
                               Kind{3, 8, 1}, Kind{4, 8, 2},  Kind{4, 16, 2}, Kind{6, 8, 4}, Kind{6, 16, 4}};

struct MadePng {
  Kind kind;
  std::uint32_t width, height;
  bool interlaced = false;
  Content palette;  // no chunk where empty
};

// The rows as they are before they are deflated. Whatever follows a filter's name is a valid row.
Content random_rows(const MadePng& png, Rng& rng) {
  static constexpr std::array<std::array<std::uint32_t, 4>, 7> kPasses = {
      {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
  Content rows;
  for (const auto& [left, top, across, down] : kPasses) {
    const std::uint32_t dx = png.interlaced ? across : 1, dy = png.interlaced ? down : 1;
    std::uint32_t columns = 0;
    for (std::uint32_t x = png.interlaced ? left : 0; x < png.width; x += dx) ++columns;
    for (std::uint32_t y = png.interlaced ? top : 0; y < png.height && columns > 0; y += dy) {
      rows.push_back(static_cast<std::uint8_t>(rng.integer(0, 4)));
      for (std::uint32_t i = 0; i < (columns * png.kind.channels * png.kind.depth + 7) / 8; ++i) {
        rows.push_back(static_cast<std::uint8_t>(rng.bits()));
      }
    }
    if (!png.interlaced) break;
  }
  return rows;
}

Content deflated(const Content& bytes) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  Content out(libdeflate_zlib_compress_bound(compressor, bytes.size()));
  out.resize(libdeflate_zlib_compress(compressor, bytes.data(), bytes.size(), out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

Content file_of(const MadePng& png, const std::vector<Content>& data) {
  Content out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, header;
  put(header, png.width);
  put(header, png.height);
  for (const unsigned byte : {png.kind.depth, png.kind.colour, 0u, 0u, png.interlaced ? 1u : 0u}) {
    header.push_back(static_cast<std::uint8_t>(byte));
  }
  put_chunk(out, "IHDR", header);
  if (!png.palette.empty()) put_chunk(out, "PLTE", png.palette);
  for (const Content& part : data) put_chunk(out, "IDAT", part);
  put_chunk(out, "IEND", {});
  return out;
}

struct Outcome {
  std::string refusal;
  Image image;
};

Outcome outcome(const Content& file, const DecodeOptions& options = {}) {
  try {
    return {"", decode_image(file, "png", {}, options)};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    return {error.what(), {}};
  }
}

void expect_equal(const Content& one, const Content& other, const std::string& what, const DecodeOptions& options) {
  const Outcome found = outcome(one, options), expected = outcome(other, options);
  EXPECT_EQ(found.refusal, expected.refusal) << what;
  EXPECT_TRUE(testing::same_pixels(found.image, expected.image)) << what;
}

// A byte behind the end of the stream is more than the rows need, so libspng and zlib read it.
Content with_a_byte_more(Content stream) {
  stream.push_back(0);
  return stream;
}

TEST(Png, OfEveryKindIsWhatLibspngMakesOfIt) {
  Rng rng(22, Purpose::kTest, 0, 0);
  constexpr std::array<std::array<std::uint32_t, 2>, 7> kSizes = {
      {{1, 1}, {2, 7}, {5, 3}, {9, 2}, {17, 20}, {33, 16}, {300, 230}}};
  for (const Kind& kind : kKinds) {
    for (const bool interlaced : {false, true}) {
      for (const auto& [width, height] : kSizes) {
        MadePng png{.kind = kind, .width = width, .height = height, .interlaced = interlaced};
        if (kind.colour == 3) {
          for (int i = 0; i < 3 << kind.depth; ++i) png.palette.push_back(static_cast<std::uint8_t>(rng.bits()));
        }
        const Content stream = deflated(random_rows(png, rng));
        const std::string what = "colour " + std::to_string(kind.colour) + ", depth " + std::to_string(kind.depth) +
                                 (interlaced ? ", interlaced, " : ", ") + std::to_string(width);
        const Content file = file_of(png, {stream});
        EXPECT_EQ(outcome(file).refusal, "") << what;
        for (const bool scale : {false, true}) {
          expect_equal(file, file_of(png, {with_a_byte_more(stream)}), what, {.scale_gray16 = scale});
        }
      }
    }
  }
}

TEST(Png, TakesARangeOfValues) {
  const DecodeOptions half{.range = std::array<double, 2>{100, 200}}, deep{.range = std::array<double, 2>{1000, 3000}};
  const Content levels = {0, 99, 100, 150, 200, 255};
  const MadePng gray{.kind = {0, 8, 1}, .width = 5, .height = 1};
  const Outcome eight = outcome(file_of(gray, {deflated(levels)}), half);
  const MadePng gray16{.kind = {0, 16, 1}, .width = 4, .height = 1};
  const Content values = {0, 0x03, 0xE7, 0x07, 0xD0, 0x0B, 0xB8, 0xFF, 0xFF};  // 999, 2000, 3000, 65535
  const Outcome sixteen = outcome(file_of(gray16, {deflated(values)}), deep);
  ASSERT_EQ(eight.refusal + sixteen.refusal, "");
  for (std::size_t x = 0; x < 5; ++x) EXPECT_EQ(eight.image.pixels[3 * x], (std::array{0, 0, 128, 255, 255}[x]));
  for (std::size_t x = 0; x < 4; ++x) EXPECT_EQ(sixteen.image.pixels[3 * x + 2], (std::array{0, 128, 255, 255}[x]));
  const MadePng colour16{.kind = {2, 16, 3}, .width = 1, .height = 1};
  EXPECT_NE(outcome(file_of(colour16, {deflated(Content(7))}), deep).refusal.find("data.range"), std::string::npos);
}

TEST(Png, UndoesEveryFilter) {
  // Gray, 3 wide: what each filter makes of the row 10 20 30 below the row 1 200 7.
  const MadePng png{.kind = {0, 8, 1}, .width = 3, .height = 2};
  const std::array<std::array<int, 3>, 5> expected = {
      {{10, 20, 30}, {10, 30, 60}, {11, 220, 37}, {10, 125, 96}, {11, 220, 37}}};
  for (std::size_t filter = 0; filter < expected.size(); ++filter) {
    const Content rows = {0, 1, 200, 7, static_cast<std::uint8_t>(filter), 10, 20, 30};
    const Outcome found = outcome(file_of(png, {deflated(rows)}));
    ASSERT_EQ(found.refusal, "") << filter;
    for (int x = 0; x < 3; ++x)
      EXPECT_EQ(found.image.row(1)[std::ptrdiff_t{3} * x], expected[filter][static_cast<std::size_t>(x)]);
  }
}

TEST(Png, WithDamagedImageDataIsRefused) {
  Rng rng(23, Purpose::kTest, 0, 0);
  for (const Kind& kind : kKinds) {
    MadePng png{.kind = kind, .width = 21, .height = 13};
    if (kind.colour == 3) png.palette.resize(std::size_t{3} << kind.depth);
    Content rows = random_rows(png, rng);
    Content wrong = deflated(rows);
    wrong.back() ^= 1;  // of the checksum
    EXPECT_NE(outcome(file_of(png, {wrong})).refusal, "");
    const Content few(rows.begin(), rows.end() - 1);
    EXPECT_NE(outcome(file_of(png, {deflated(few)})).refusal, "");
    rows[0] = 5;  // which names no filter
    EXPECT_NE(outcome(file_of(png, {deflated(rows)})).refusal, "");
  }
}

TEST(Png, MayHaveItsDataInManyChunks) {
  Rng rng(24, Purpose::kTest, 0, 0);
  const MadePng png{.kind = {2, 8, 3}, .width = 40, .height = 30};
  const Content stream = deflated(random_rows(png, rng));
  std::vector<Content> parts = {{}};
  for (const std::uint8_t byte : stream) {
    parts.back().push_back(byte);
    if (rng.chance(0.1)) parts.resize(parts.size() + 1 + static_cast<std::size_t>(rng.integer(0, 1)));
  }
  ASSERT_GT(parts.size(), 20u);
  expect_equal(file_of(png, parts), file_of(png, {stream}), "chunks", {});
}

// A palette beside colours is not used, but libspng refuses a wrong one.
TEST(Png, WithAWrongPaletteIsRefusedWhateverItsKind) {
  Rng rng(25, Purpose::kTest, 0, 0);
  MadePng png{.kind = {2, 8, 3}, .width = 4, .height = 4, .palette = Content(6)};
  const Content stream = deflated(random_rows(png, rng));
  EXPECT_EQ(outcome(file_of(png, {stream})).refusal, "");
  png.palette.resize(7);
  EXPECT_NE(outcome(file_of(png, {stream})).refusal, "");
}

}  // namespace
}  // namespace lacuna
