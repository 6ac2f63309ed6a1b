// What DecodeOptions asks for, and what the formats do that others do not.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "io/image/exif.h"
#include "io/image/image.h"
#include "io/image/image_reader.h"
#include "support/golden_image.h"
#include "support/refusal.h"
#include "support/sha256.h"
#include "support/shared.h"
#include "support/small_tiff.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::refusal;
using testing::same_pixels;
using testing::sha256;
using testing::shared_folder;
using testing::SmallTiff;
using testing::tiff_bytes;

// width x height pixels of `channels` channels, each sample different.
SmallTiff numbered(int channels, int bits) {
  SmallTiff tiff{.width = 5, .height = 3, .channels = channels, .bits = bits};
  for (int i = 0; i < 5 * 3 * channels; ++i) {
    tiff.samples.push_back(static_cast<std::uint16_t>(bits == 8 ? i * 37 % 256 : i * 3001 % 65536));
  }
  return tiff;
}

TEST(Orientation, EqualsExifTransposeOnTheReferenceFiles) {
  LACUNA_NEEDS_SHARED("golden/preprocess/decode.json");
  const fs::path folder = shared_folder() / "golden/preprocess";
  int compared = 0, turned = 0;
  const nlohmann::json table = read_json(folder / "decode.json");
  for (const auto& row : table.at("cases")) {
    if (row.at("status") != "ok" || row.at("format") == "BMP") continue;
    const std::string path = row.at("path");
    const fs::path file = (path.starts_with("files/") ? folder : shared_folder() / "data") / path;
    const Image image = decode_image(bytes_of(file), path, {}, {.orient = true});
    const auto& expected = row.at("transposed");
    EXPECT_EQ(image.width, expected.at("size").at(0)) << path;
    EXPECT_EQ(sha256(image.pixels), expected.at("rgb_sha256")) << path;
    ++compared;
    turned += expected.at("rgb_sha256") != row.at("rgb_sha256") ? 1 : 0;
  }
  EXPECT_GT(compared, 100);
  EXPECT_GE(turned, 14);
}

TEST(Orientation, UprightUndoesEveryWayAPictureCanLie) {
  Image image(3, 2);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 11);
  for (const auto& [way, back] : {std::pair{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 8}, {7, 7}, {8, 6}}) {
    const Image lying = upright(image, back);
    EXPECT_EQ(lying.width, way >= 5 ? 2 : 3);
    EXPECT_TRUE(same_pixels(upright(lying, way), image)) << way;
    if (way != 1) {
      EXPECT_NE(lying.pixels, image.pixels) << way;
    }
  }
  EXPECT_TRUE(same_pixels(upright(image, 0), image));
  EXPECT_TRUE(same_pixels(upright(image, 9), image));
}

TEST(Orientation, IsReadFromAnyTruncationWithoutHarm) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path folder = shared_folder() / "golden/preprocess/files";
  for (const char* name : {"jpeg_exif_orientation_6.jpg", "png_exif_orientation_6.png"}) {
    const std::vector<std::uint8_t> whole = bytes_of(folder / name);
    ASSERT_EQ(exif_orientation(whole), 6) << name;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const int found = exif_orientation(cut);
      EXPECT_TRUE(found == 6 || found == kUpright) << name << " cut at " << size;
    }
  }
}

TEST(ImageReader, GivesWhatDecodeImageGivesForTheSameOptions) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path folder = shared_folder() / "golden/preprocess/files";
  ImageReader reader;
  for (const char* name :
       {"jpeg_exif_orientation_6.jpg", "jpeg_420.jpg", "png_gray16.png", "gif.gif", "tiff_gray16.tif"}) {
    for (const DecodeOptions& options : {DecodeOptions{}, DecodeOptions{.orient = true, .scale_gray16 = true}}) {
      const Image expected = load_image(folder / name, {}, options);
      reader.name = (folder / name).string();
      reader.open_file({}, options);
      ASSERT_EQ(reader.width(), expected.width) << name;
      const ImageView found = reader.read({0, 0, expected.width, expected.height});
      for (int y = 0; y < expected.height; ++y) {
        ASSERT_TRUE(std::equal(found.row(y), found.row(y) + std::ptrdiff_t{3} * expected.width, expected.row(y)))
            << name;
      }
    }
  }
}

TEST(Tiff, ObeysItsOrientationTagAsPillowDoes) {
  SmallTiff tiff = numbered(3, 8);
  tiff.photometric = 2;
  const Image stored = decode_image(tiff_bytes(tiff), "tiff");
  for (int orientation = 2; orientation <= 8; ++orientation) {
    tiff.orientation = orientation;
    EXPECT_TRUE(same_pixels(decode_image(tiff_bytes(tiff), "tiff"), upright(stored, orientation))) << orientation;
  }
}

TEST(Bands, PickThreeOfManyChannels) {
  for (const int bits : {8, 16}) {
    for (const bool separate : {false, true}) {
      SmallTiff tiff = numbered(7, bits);
      tiff.separate = separate;
      const Image image = decode_image(tiff_bytes(tiff), "tiff", {}, {.bands = {6, 0, 3}});
      ASSERT_EQ(image.pixels.size(), 5u * 3 * 3);
      for (std::size_t pixel = 0; pixel < 15; ++pixel) {
        for (std::size_t c = 0; c < 3; ++c) {
          const std::size_t band = std::array<std::size_t, 3>{6, 0, 3}[c];
          const int sample = tiff.samples[separate ? band * 15 + pixel : pixel * 7 + band];
          EXPECT_EQ(image.pixels[pixel * 3 + c], bits == 8 ? sample : sample >> 8) << bits << " " << pixel;
        }
      }
    }
  }
}

TEST(Bands, AreNamedWhereAFileNeedsOrLacksThem) {
  const std::vector<std::uint8_t> seven = tiff_bytes(numbered(7, 16));
  const std::string needs = refusal([&] { decode_image(seven, "seven.tif"); });
  EXPECT_NE(needs.find("7 channels"), std::string::npos) << needs;
  EXPECT_NE(needs.find("data.bands"), std::string::npos) << needs;
  const std::string lacks = refusal([&] { decode_image(seven, "seven.tif", {}, {.bands = {0, 1, 7}}); });
  EXPECT_NE(lacks.find("channel 7"), std::string::npos) << lacks;
}

TEST(Bands, ReorderTheColoursOfOtherFormats) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path file = shared_folder() / "golden/preprocess/files/png_rgb8.png";
  const Image plain = load_image(file), swapped = load_image(file, {}, {.bands = {2, 1, 0}});
  for (std::size_t i = 0; i < plain.pixels.size(); i += 3) {
    ASSERT_EQ(swapped.pixels[i], plain.pixels[i + 2]);
    ASSERT_EQ(swapped.pixels[i + 1], plain.pixels[i + 1]);
  }
  EXPECT_NE(refusal([&] { load_image(file, {}, {.bands = {0, 1, 3}}); }), "");
}

TEST(Gray16, IsClampedUnlessItIsScaled) {
  const SmallTiff tiff = numbered(1, 16);
  const std::vector<std::uint8_t> bytes = tiff_bytes(tiff);
  const Image clamped = decode_image(bytes, "tiff"), scaled = decode_image(bytes, "tiff", {}, {.scale_gray16 = true});
  for (std::size_t i = 0; i < tiff.samples.size(); ++i) {
    EXPECT_EQ(clamped.pixels[i * 3], std::min<int>(tiff.samples[i], 255));
    EXPECT_EQ(scaled.pixels[i * 3], tiff.samples[i] >> 8);
  }
}

TEST(Gray16, OfAPngIsScaledLikeThatOfATiff) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files/png_gray16.png");
  const fs::path file = shared_folder() / "golden/preprocess/files/png_gray16.png";
  const Image clamped = load_image(file), scaled = load_image(file, {}, {.scale_gray16 = true});
  const auto white = [](const Image& image) { return std::count(image.pixels.begin(), image.pixels.end(), 255); };
  EXPECT_GT(white(clamped), std::ssize(clamped.pixels) / 2);
  EXPECT_LT(white(scaled), std::ssize(scaled.pixels) / 20);
  // Nothing else is deep gray, so nothing else changes.
  const fs::path other = shared_folder() / "golden/preprocess/files/png_rgb8.png";
  EXPECT_TRUE(same_pixels(load_image(other), load_image(other, {}, {.scale_gray16 = true})));
}

TEST(Tiff, RefusesAPageThatItsBytesCannotHold) {
  SmallTiff tiff = numbered(1, 8);
  tiff.width = tiff.height = 12000;
  const std::string reason = refusal([&] { decode_image(tiff_bytes(tiff), "bomb.tif"); });
  EXPECT_NE(reason.find("cannot hold"), std::string::npos) << reason;
  tiff.width = 1 << 19;
  EXPECT_NE(refusal([&] { decode_image(tiff_bytes(tiff), "bomb.tif"); }).find("limit"), std::string::npos);
}

// Three samples, of which one is said to be the alpha behind three colours.
TEST(Tiff, RefusesAnAlphaThatIsNotThere) {
  SmallTiff tiff = numbered(4, 8);
  tiff.photometric = 2;
  std::vector<std::uint8_t> bytes = tiff_bytes(tiff);
  const auto set = [&bytes](int tag, std::uint8_t value) {
    for (std::size_t at = 10; at + 12 <= bytes.size(); at += 12) {
      if ((bytes[at] | bytes[at + 1] << 8) == tag) return bytes[at + 8] = value;
    }
    ADD_FAILURE() << "no tag " << tag;
    return value;
  };
  set(338, 1);  // colours multiplied with it
  EXPECT_EQ(refusal([&] { decode_image(bytes, "alpha.tif"); }), "");
  set(277, 3);
  EXPECT_NE(refusal([&] { decode_image(bytes, "alpha.tif"); }), "");
}

TEST(Tiff, RefusesAPlaneWithoutAPlace) {
  SmallTiff tiff = numbered(7, 8);
  tiff.separate = true;
  std::vector<std::uint8_t> bytes = tiff_bytes(tiff);
  const std::size_t data = bytes.size() - tiff.samples.size(),
                    last = data - 4 * 4 - 4 * 3 - 4 * 7 - 4;  // before sizes, extras and types
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(last), 4, std::uint8_t{0});
  EXPECT_EQ(refusal([&] { decode_image(bytes, "planes", {}, {.bands = {0, 1, 5}}); }), "");
  EXPECT_NE(refusal([&] { decode_image(bytes, "planes", {}, {.bands = {0, 1, 6}}); }), "");
}

// One pixel of colour 1 on a canvas of colour 0, or of the transparent colour if there is one.
std::vector<std::uint8_t> gif_of(int canvas, int left, int frame, std::optional<int> transparent = {}) {
  std::vector<std::uint8_t> out = {'G', 'I', 'F', '8', '9', 'a'};
  const auto put = [&out](std::initializer_list<int> values) {
    for (const int value : values) out.push_back(static_cast<std::uint8_t>(value));
  };
  put({canvas & 255, canvas >> 8, canvas & 255, canvas >> 8, 0x80, 0, 0, 10, 20, 30, 200, 210, 220});
  if (transparent) put({'!', 0xF9, 4, 1, 0, 0, *transparent, 0});
  put({',', left & 255, left >> 8, 0, 0, frame & 255, frame >> 8, frame & 255, frame >> 8, 0});
  put({2, 2, 0x4C, 0x01, 0});  // clear, colour 1, end
  return out;
}

TEST(Gif, PutsTheFirstFrameOnItsCanvasAndWidensItWhereNeeded) {
  const Image inside = decode_image(gif_of(3, 2, 1), "gif");
  EXPECT_EQ(inside.width, 3);
  EXPECT_EQ(inside.row(0)[0], 10);
  EXPECT_EQ(inside.row(0)[6], 200);
  const Image around = decode_image(gif_of(3, 2, 1, 1), "gif");
  EXPECT_EQ(around.row(2)[0], 200);
  const Image beyond = decode_image(gif_of(3, 5, 1), "gif");
  EXPECT_EQ(beyond.width, 6);
  EXPECT_EQ(beyond.height, 3);
  EXPECT_EQ(beyond.row(0)[15], 200);
}

TEST(Gif, RefusesAFrameThatItsBytesCannotHold) {
  const std::string reason = refusal([] { decode_image(gif_of(9000, 0, 9000), "bomb.gif"); });
  EXPECT_NE(reason.find("cannot hold"), std::string::npos) << reason;
  EXPECT_NE(refusal([] { decode_image(gif_of(40000, 0, 1), "bomb.gif"); }).find("limit"), std::string::npos);
  EXPECT_NE(refusal([] { decode_image(gif_of(3, 0, 0), "empty.gif"); }), "");
}

}  // namespace
}  // namespace lacuna
