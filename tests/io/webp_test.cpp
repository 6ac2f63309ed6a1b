// A part of a WebP image against the whole: the same pixels, the same verdict.
#include "io/image/webp.h"

#include <gtest/gtest.h>
#include <webp/encode.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/image/decoders.h"
#include "io/image/image_reader.h"
#include "support/golden_image.h"
#include "support/shared.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::same_pixels;
using testing::shared_folder;
using Content = std::vector<std::uint8_t>;

int draw(Rng& rng, int low, int high) { return static_cast<int>(rng.integer(low, high)); }

// Waves with noise, so that every kind of block and filter occurs.
Content pixels_of(int width, int height, Rng& rng) {
  Content rgb(static_cast<std::size_t>(width * height) * 3);
  const int noise = draw(rng, 1, 80), wave = draw(rng, 2, 40);
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    const int x = static_cast<int>(i / 3) % width, y = static_cast<int>(i / 3) / width, c = static_cast<int>(i % 3);
    rgb[i] = static_cast<std::uint8_t>((x * y / wave + c * x * 5 + draw(rng, 0, noise)) % 256);
  }
  return rgb;
}

// A lossy file with a random choice of the encoder's.
Content random_file(Rng& rng) {
  const int width = draw(rng, 1, 150), height = draw(rng, 1, 150);
  const Content rgb = pixels_of(width, height, rng);
  WebPConfig config;
  WebPPicture picture;
  EXPECT_TRUE(WebPConfigInit(&config) && WebPPictureInit(&picture));
  config.quality = static_cast<float>(draw(rng, 0, 100));
  config.method = draw(rng, 0, 4);
  config.filter_type = draw(rng, 0, 1);
  config.filter_strength = draw(rng, 0, 100);
  config.partitions = draw(rng, 0, 3);
  config.segments = draw(rng, 1, 4);
  picture.width = width;
  picture.height = height;
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &writer;
  EXPECT_TRUE(WebPPictureImportRGB(&picture, rgb.data(), width * 3) && WebPEncode(&config, &picture));
  Content file(writer.mem, writer.mem + writer.size);
  WebPMemoryWriterClear(&writer);
  WebPPictureFree(&picture);
  return file;
}

Image copy_of(const ImageView& view) {
  Image image(view.width, view.height);
  for (int y = 0; y < view.height; ++y) std::copy_n(view.row(y), std::ptrdiff_t{3} * view.width, image.row(y));
  return image;
}

std::optional<Image> whole_of(const Content& file) {
  try {
    return decode_webp(file, "whole", {});
  } catch (const Error&) {
    return std::nullopt;
  }
}

struct Count {
  int accepted = 0, refused = 0;
};

// Random boxes of the file by one reader.
void expect_parts(const Content& file, int boxes, Rng& rng, const std::string& what, Count& count) {
  static Image kept;
  const std::optional<Image> whole = whole_of(file);
  for (int i = 0; i < boxes; ++i) {
    Box box;
    std::optional<Image> part;
    try {
      WebpReader reader;
      if (!reader.open(file, what, {})) return;
      box.width = draw(rng, 1, reader.size().width);
      box.height = draw(rng, 1, reader.size().height);
      box.left = draw(rng, 0, reader.size().width - box.width);
      box.top = draw(rng, 0, reader.size().height - box.height);
      part = copy_of(reader.read(box, kept));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    }
    const auto place = ::testing::Message()
                       << what << ", box " << box.left << ", " << box.top << ", " << box.width << " x " << box.height;
    ASSERT_EQ(part.has_value(), whole.has_value()) << place;
    if (part) {
      ASSERT_TRUE(same_pixels(*part, copy_of(ImageView(*whole).part(box)))) << place;
    }
    ++(part ? count.accepted : count.refused);
  }
}

TEST(WebpReader, APartIsThatPartOfTheWhole) {
  Rng rng(1, Purpose::kTest);
  Count count;
  for (int trial = 0; trial < 300; ++trial) {
    expect_parts(random_file(rng), 6, rng, "trial " + std::to_string(trial), count);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(count.accepted, 1800);
}

// Bytes changed, and some cut off with the sizes in the headers put right, so that nothing but the data can tell.
Content damaged(Content file, Rng& rng) {
  for (int changes = draw(rng, 0, 5); changes > 0; --changes) {
    file[static_cast<std::size_t>(draw(rng, 20, static_cast<int>(file.size()) - 1))] =
        static_cast<std::uint8_t>(rng.bits());
  }
  if (rng.chance(0.6)) {
    file.resize(static_cast<std::size_t>(draw(rng, 40, static_cast<int>(file.size()))) / 2 * 2);
    const auto riff = static_cast<std::uint32_t>(file.size() - 8), chunk = riff - 12;
    std::memcpy(&file[4], &riff, 4);
    std::memcpy(&file[16], &chunk, 4);
  }
  return file;
}

TEST(WebpReader, APartOfADamagedFileIsAcceptedAsTheWholeIs) {
  Rng rng(2, Purpose::kTest);
  Count count;
  for (int trial = 0; trial < 1500; ++trial) {
    expect_parts(damaged(random_file(rng), rng), 3, rng, "trial " + std::to_string(trial), count);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(count.accepted, 500);
  EXPECT_GT(count.refused, 500);
}

TEST(WebpReader, APartIsThatPartOfTheWholeOnEveryFileOfTheDataFolder) {
  LACUNA_NEEDS_SHARED("data");
  Rng rng(3, Purpose::kTest);
  Count count;
  for (const char* folder : {"data", "golden/preprocess/files"}) {
    for (const auto& entry : fs::recursive_directory_iterator(shared_folder() / folder)) {
      if (!entry.is_regular_file() || entry.path().extension() != ".webp") continue;
      expect_parts(bytes_of(entry.path()), 20, rng, entry.path().filename().string(), count);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(count.accepted, 0);
}

TEST(ImageReader, ReadsPartsOfWebPWhateverItsKind) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  ImageReader reader;
  for (const char* name : {"webp_lossy.webp", "webp_lossless.webp", "webp_lossy_alpha.webp", "webp_animated.webp"}) {
    reader.name = (shared_folder() / "golden/preprocess/files" / name).string();
    const Image whole = load_image(reader.name);
    const Box box{whole.width / 3, whole.height / 4, whole.width / 2, whole.height / 2};
    reader.open_file();
    ASSERT_EQ(reader.width(), whole.width) << name;
    EXPECT_EQ(reader.reduction_for({0, 0, whole.width, whole.height}, 1), 1) << name;
    EXPECT_TRUE(same_pixels(copy_of(reader.read(box)), copy_of(ImageView(whole).part(box)))) << name;
  }
}

}  // namespace
}  // namespace lacuna
