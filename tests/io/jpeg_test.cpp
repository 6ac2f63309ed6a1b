#include "io/image/jpeg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/files.h"
#include "io/image/decoders.h"
#include "support/golden_image.h"
#include "support/made_jpeg.h"
#include "support/shared.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::encoded;
using testing::Make;
using testing::same_pixels;
using testing::shared_folder;
using Bytes = std::vector<std::uint8_t>;

// ---- JPEG files of every make

Make random_make(Rng& rng) {
  Make make;
  make.width = static_cast<int>(rng.integer(1, 150));
  make.height = static_cast<int>(rng.integer(1, 150));
  make.components = rng.chance(0.2) ? 1 : rng.chance(0.1) ? 4 : 3;
  make.luma_width = static_cast<int>(rng.chance(0.1) ? 4 : rng.integer(1, 2));
  make.luma_height = static_cast<int>(rng.chance(0.1) ? 4 : rng.integer(1, 2));
  if (make.luma_width * make.luma_height > 7) make.luma_height = 1;  // at most ten blocks in an MCU
  make.restart = static_cast<int>(rng.chance(0.4) ? rng.integer(1, 9) : 0);
  make.progressive = rng.chance(0.1);
  make.arithmetic = rng.chance(0.1);
  return make;
}

// ---- A part against the whole

Box random_box(const ImageSize& size, Rng& rng) {
  Box box;
  box.width = static_cast<int>(rng.integer(1, size.width));
  box.height = static_cast<int>(rng.integer(1, size.height));
  box.left = static_cast<int>(rng.integer(0, size.width - box.width));
  box.top = static_cast<int>(rng.integer(0, size.height - box.height));
  return box;
}

Image copy_of(const ImageView& view) {
  Image image(view.width, view.height);
  for (int y = 0; y < view.height; ++y) {
    std::copy_n(view.row(y), static_cast<std::size_t>(view.width) * 3, image.row(y));
  }
  return image;
}

std::optional<Image> whole_of(const Bytes& bytes) {
  try {
    return decode_jpeg(bytes, "whole", {});
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Reads `boxes` random parts with one reader: each is what the whole image has there, or is refused as the whole is.
class Parts {
 public:
  void expect_equal(const Bytes& bytes, int boxes, Rng& rng, const std::string& what) {
    const std::optional<Image> whole = whole_of(bytes);
    for (int i = 0; i < boxes; ++i) {
      Box box;
      std::optional<Image> part;
      try {
        box = random_box(reader_.open(bytes, what, {}), rng);
        part = copy_of(reader_.read(box, image_));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
      }
      const auto place = ::testing::Message()
                         << what << ", box " << box.left << ", " << box.top << ", " << box.width << " x " << box.height;
      ASSERT_EQ(part.has_value(), whole.has_value()) << place;
      if (part) {
        ASSERT_TRUE(same_pixels(*part, copy_of(ImageView(*whole).part(box)))) << place;
      }
      part ? ++accepted_ : ++refused_;
    }
  }
  int accepted() const { return accepted_; }
  int refused() const { return refused_; }

 private:
  JpegReader reader_;
  Image image_;
  int accepted_ = 0, refused_ = 0;
};

TEST(JpegReader, APartIsThatPartOfTheWholeForEveryMake) {
  Rng rng(1, Purpose::kTest);
  Parts parts;
  for (int trial = 0; trial < 400; ++trial) {
    const Make make = random_make(rng);
    parts.expect_equal(encoded(make, rng), 6, rng, text(make));
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(parts.refused(), 0);
}

TEST(JpegReader, APartOfAReducedImageIsThatPartOfTheReducedWhole) {
  Rng rng(5, Purpose::kTest);
  JpegReader reader;
  Image pixels;
  for (int trial = 0; trial < 400; ++trial) {
    const Make make = random_make(rng);
    const Bytes bytes = encoded(make, rng);
    const int reduction = 1 << rng.integer(1, 3);
    ImageSize size = reader.open(bytes, "whole", {});
    size = {(size.width + reduction - 1) / reduction, (size.height + reduction - 1) / reduction};
    const Image whole = copy_of(reader.read({0, 0, size.width, size.height}, pixels, reduction));
    const Box box = random_box(size, rng);
    reader.open(bytes, "part", {});
    ASSERT_TRUE(same_pixels(copy_of(reader.read(box, pixels, reduction)), copy_of(ImageView(whole).part(box))))
        << make << ", reduced by " << reduction;
  }
}

// Cut anywhere, with an end marker put behind the cut or not, or with bytes changed.
Bytes damaged(Bytes bytes, Rng& rng) {
  if (rng.chance(0.6)) bytes.resize(static_cast<std::size_t>(rng.integer(2, static_cast<std::int64_t>(bytes.size()))));
  if (rng.chance(0.3)) bytes.insert(bytes.end(), {0xFF, 0xD9});
  if (rng.chance(0.2)) bytes.insert(bytes.end(), 3, 0);
  for (int changes = rng.chance(0.5) ? static_cast<int>(rng.integer(1, 6)) : 0; changes > 0; --changes) {
    const auto at = static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(bytes.size()) - 1));
    bytes[at] = static_cast<std::uint8_t>(rng.chance(0.3) ? 0xFF : rng.integer(0, 255));
  }
  return bytes;
}

TEST(JpegReader, APartOfADamagedFileIsAcceptedAsTheWholeIs) {
  Rng rng(2, Purpose::kTest);
  Parts parts;
  for (int trial = 0; trial < 4000; ++trial) {
    const Make make = random_make(rng);
    parts.expect_equal(damaged(encoded(make, rng), rng), 2, rng, text("trial ", trial, ": ", make));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(parts.refused(), 1000);
  EXPECT_GT(parts.accepted(), 1000);
}

TEST(JpegReader, APartIsThatPartOfTheWholeOnEveryFileOfTheDataFolder) {
  LACUNA_NEEDS_SHARED("data");
  Rng rng(3, Purpose::kTest);
  Parts parts;
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(shared_folder() / "data")) {
    if (!entry.is_regular_file() || entry.file_size() > (4 << 20)) continue;
    const std::string content = read_file(entry.path(), 4 << 20);
    if (content.rfind("\xFF\xD8\xFF", 0) != 0) continue;
    parts.expect_equal({content.begin(), content.end()}, 3, rng, entry.path().filename().string());
    if (HasFatalFailure()) return;
    ++files;
  }
  EXPECT_GT(files, 500);
}

TEST(JpegReader, TruncatedPhotographsAreRefusedWhateverThePart) {
  LACUNA_NEEDS_SHARED("data/imagenet_samples/images");
  Rng rng(4, Purpose::kTest);
  Parts parts;
  int files = 0;
  for (const auto& entry : fs::directory_iterator(shared_folder() / "data/imagenet_samples/images")) {
    if (++files > 60) break;
    const std::string content = read_file(entry.path(), 1 << 28);
    for (const double share : {0.2, 0.6, 0.95, 1.0}) {
      Bytes bytes(content.begin(), content.end());
      bytes.resize(static_cast<std::size_t>(share * static_cast<double>(bytes.size() - 1)));
      parts.expect_equal(bytes, 2, rng, text(entry.path().filename().string(), " cut to ", bytes.size()));
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(parts.refused(), 400);
}

}  // namespace
}  // namespace lacuna
