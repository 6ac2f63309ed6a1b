// Images of more or fewer channels than three: sheets, and what their bytes become.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/image/exif.h"
#include "io/image/image_reader.h"
#include "io/image/png_writer.h"
#include "support/golden_image.h"
#include "support/refusal.h"
#include "support/small_tiff.h"

namespace lacuna {
namespace {

using testing::refusal;
using testing::same_pixels;
using testing::SmallTiff;
using testing::tiff_bytes;

constexpr int kWidth = 5, kHeight = 4, kPixels = kWidth * kHeight;

std::uint32_t sample_of(int channel, int pixel, int bits) {
  const auto value = static_cast<std::uint32_t>(channel * 7919 + pixel * 3001 + 17);
  return bits == 8 ? value % 256 : value % 65536;
}

SmallTiff many(int channels, int bits, bool separate) {
  SmallTiff tiff{.width = kWidth, .height = kHeight, .channels = channels, .bits = bits, .separate = separate};
  for (int i = 0; i < kPixels * channels; ++i) {
    const int channel = separate ? i / kPixels : i % channels, pixel = separate ? i % kPixels : i / channels;
    tiff.samples.push_back(sample_of(channel, pixel, bits));
  }
  return tiff;
}

// The bytes of the chosen channels, [pixels, channels].
std::vector<std::uint8_t> spectrum_of(const Sheets& sheets, std::size_t channels) {
  std::vector<std::uint8_t> out(sheets[0].pixels.size() / 3 * channels);
  interleave(sheets, static_cast<int>(channels), out.data());
  return out;
}

TEST(Spectrum, HasEachChannelInItsPlace) {
  const std::vector<std::vector<int>> choices = {{4}, {6, 0}, {0, 1, 2}, {3, 3, 0, 6}, {6, 5, 4, 3, 2, 1, 0}};
  for (const int bits : {8, 16}) {
    for (const bool separate : {false, true}) {
      const std::vector<std::uint8_t> file = tiff_bytes(many(7, bits, separate));
      for (const std::vector<int>& chosen : choices) {
        const Sheets sheets = decode_sheets(file, "tiff", {}, {.bands = {5, 1, 2}, .spectrum = chosen});
        ASSERT_EQ(sheets.size(), (chosen.size() + 2) / 3 + 1);
        const std::vector<std::uint8_t> found = spectrum_of(sheets, chosen.size());
        for (int pixel = 0; pixel < kPixels; ++pixel) {
          for (std::size_t c = 0; c < chosen.size(); ++c) {
            const std::uint32_t sample = sample_of(chosen[c], pixel, bits);
            ASSERT_EQ(found[static_cast<std::size_t>(pixel) * chosen.size() + c], bits == 8 ? sample : sample >> 8)
                << bits << " bits, channel " << chosen[c];
          }
        }
        EXPECT_TRUE(same_pixels(sheets.back(), decode_image(file, "tiff", {}, {.bands = {5, 1, 2}})))
            << "the last sheet is red, green and blue";
      }
    }
  }
}

TEST(Spectrum, ShowsItsFirstChannelsWhereNobodyChoseColours) {
  const std::vector<std::uint8_t> file = tiff_bytes(many(7, 8, false));
  const Sheets four = decode_sheets(file, "tiff", {}, {.spectrum = {6, 2, 0, 1}});
  EXPECT_TRUE(same_pixels(four.back(), decode_image(file, "tiff", {}, {.bands = {6, 2, 0}})));
  const Sheets one = decode_sheets(file, "tiff", {}, {.spectrum = {3}});
  EXPECT_TRUE(same_pixels(one.back(), decode_image(file, "tiff", {}, {.bands = {3, 3, 3}})));
}

TEST(Spectrum, StandsUprightInEverySheet) {
  SmallTiff tiff = many(4, 8, false);
  const DecodeOptions options{.spectrum = {0, 1, 2, 3}};
  const Sheets stored = decode_sheets(tiff_bytes(tiff), "tiff", {}, options);
  tiff.orientation = 6;
  const Sheets turned = decode_sheets(tiff_bytes(tiff), "tiff", {}, options);
  for (std::size_t i = 0; i < stored.size(); ++i) EXPECT_TRUE(same_pixels(turned[i], upright(stored[i], 6)));
}

TEST(Spectrum, IsTakenFromFormatsOfThreeChannelsToo) {
  Image image(3, 2);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 13);
  const std::vector<std::uint8_t> png = encode_png(image);
  const std::vector<std::uint8_t> found = spectrum_of(decode_sheets(png, "png", {}, {.spectrum = {2, 2, 0, 1}}), 4);
  for (std::size_t pixel = 0; pixel < 6; ++pixel) {
    const std::size_t chosen[] = {2, 2, 0, 1};
    for (std::size_t c = 0; c < 4; ++c) EXPECT_EQ(found[pixel * 4 + c], image.pixels[pixel * 3 + chosen[c]]);
  }
  const std::string lacks = refusal([&] { decode_sheets(png, "png", {}, {.spectrum = {0, 3}}); });
  EXPECT_NE(lacks.find("asks for channel 3, but the file has 3"), std::string::npos) << lacks;
}

TEST(Spectrum, CountsTowardsTheLimitOfPixels) {
  const std::vector<std::uint8_t> file = tiff_bytes(many(7, 8, false));
  const DecodeLimits limits{.max_pixels = std::int64_t{2} * kPixels};
  EXPECT_EQ(refusal([&] { decode_sheets(file, "tiff", limits, {.spectrum = {0, 1, 2}}); }), "");
  EXPECT_NE(refusal([&] { decode_sheets(file, "tiff", limits, {.spectrum = {0, 1, 2, 3}}); }), "");
  const std::vector<std::uint8_t> png = encode_png(Image(kWidth, kHeight));
  EXPECT_EQ(refusal([&] { decode_sheets(png, "png", limits, {.spectrum = {0, 1, 2}}); }), "");
  EXPECT_NE(refusal([&] { decode_sheets(png, "png", limits, {.spectrum = {0, 1, 2, 0}}); }), "");
}

// value -> level, for two samples of each type.
TEST(Range, MapsEveryTypeOfSampleLinearly) {
  struct Row {
    int bits, format;
    std::array<double, 2> range;
    std::vector<std::pair<std::uint32_t, int>> levels;
  };
  const auto bits_of = [](float value) { return std::bit_cast<std::uint32_t>(value); };
  const std::vector<Row> rows = {
      {16, 1, {0, 10000}, {{0, 0}, {10000, 255}, {65535, 255}, {5000, 128}, {19, 0}, {20, 1}}},
      {16, 1, {1000, 3000}, {{999, 0}, {1000, 0}, {2000, 128}, {3000, 255}}},
      {16, 2, {-100, 100}, {{0x10000 - 100, 0}, {0, 128}, {100, 255}, {0x10000 - 50, 64}}},
      {8, 1, {10, 20}, {{10, 0}, {15, 128}, {20, 255}, {255, 255}}},
      {32, 1, {0, 4e9}, {{0, 0}, {2000000000u, 128}, {4000000000u, 255}}},
      {32, 2, {-2, 2}, {{0xFFFFFFFEu, 0}, {0, 128}, {2, 255}}},
      {32, 3, {0, 1}, {{bits_of(0.5F), 128}, {bits_of(-3.F), 0}, {bits_of(2.F), 255}, {bits_of(NAN), 0}}}};
  for (const Row& row : rows) {
    SmallTiff tiff{.width = static_cast<int>(row.levels.size()), .height = 1, .channels = 4, .bits = row.bits};
    tiff.format = row.format;
    for (const auto& [value, level] : row.levels) tiff.samples.insert(tiff.samples.end(), 4, value);
    const std::vector<std::uint8_t> file = tiff_bytes(tiff);
    const DecodeOptions options{.spectrum = {0, 1, 2, 3}, .range = row.range};
    const std::vector<std::uint8_t> found = spectrum_of(decode_sheets(file, "tiff", {}, options), 4);
    for (std::size_t i = 0; i < row.levels.size(); ++i) {
      EXPECT_EQ(found[4 * i], row.levels[i].second) << row.bits << " bits of type " << row.format << ", " << i;
      EXPECT_EQ(found[4 * i + 3], row.levels[i].second);
    }
    if (row.format == 1 && row.bits < 32) continue;
    const std::string without = refusal([&] { decode_sheets(file, "tiff", {}, {.spectrum = {0, 1, 2, 3}}); });
    EXPECT_NE(without.find("data.range"), std::string::npos) << without;
  }
}

TEST(Spectrum, IsHandedOutByTheReaderAndTakenFromBytes) {
  const std::vector<std::uint8_t> file = tiff_bytes(many(7, 8, false));
  const DecodeOptions options{.bands = {5, 1, 2}, .spectrum = {6, 5, 4, 3}};
  const Sheets expected = decode_sheets(file, "tiff", {}, options);
  const auto is = [](const ImageView& view, const Image& image) {
    for (int y = 0; y < image.height; ++y) {
      if (!std::equal(view.row(y), view.row(y) + std::ptrdiff_t{3} * image.width, image.row(y))) return false;
    }
    return view.width == image.width && view.height == image.height;
  };
  ImageReader opened, held;
  opened.bytes = file;
  opened.open({}, options);
  for (const Image& sheet : expected) held.bytes.insert(held.bytes.end(), sheet.pixels.begin(), sheet.pixels.end());
  held.hold_bytes(kWidth, kHeight, static_cast<int>(expected.size()));
  for (ImageReader* reader : {&opened, &held}) {
    ASSERT_EQ(reader->spectrum_sheets(), 2);
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(is(reader->spectrum_sheet(i), expected[static_cast<std::size_t>(i)]));
    EXPECT_TRUE(is(reader->read({0, 0, kWidth, kHeight}), expected.back()));
  }
  EXPECT_THROW(held.hold_bytes(kWidth, kHeight, 2), std::logic_error);
  held.hold({expected.back()});
  EXPECT_EQ(held.spectrum_sheets(), 0);
}

}  // namespace
}  // namespace lacuna
