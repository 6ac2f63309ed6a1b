#include "data/source/decoded_source.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/loader.h"
#include "data/source/open_source.h"
#include "io/files.h"
#include "io/image/jpeg_writer.h"
#include "io/image/resize.h"
#include "support/golden_image.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::same_pixels;

class DecodedSourceTest : public ::testing::Test {
 protected:
  // Two classes of photographs of noise, 40 to 63 pixels high; one of them is broken.
  DecodedSourceTest() {
    for (int i = 0; i < 24; ++i) put(i, i);
    std::ofstream(file(5)) << "broken";
  }

  fs::path file(int number) const {
    return root_ / "data" / (number % 2 == 0 ? "a" : "b") / ("i" + std::to_string(100 + number) + ".jpg");
  }
  void put(int number, int seed) const {
    Image image(70, 40 + number);
    Rng rng(static_cast<std::uint64_t>(seed), Purpose::kTest);
    for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(rng.bits());
    const auto bytes = encode_jpeg(image, 90);
    fs::create_directories(file(number).parent_path());
    write_file_atomic(file(number), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  std::unique_ptr<Source> open(int side) {
    said_.clear();
    SourceConfig config{.path = (root_ / "data").string(), .cache = root_ / "cache", .decoded_side = side};
    config.say = [this](const std::string& line) { said_ += line + "\n"; };
    return open_source(config, Split::kTrain);
  }
  std::vector<fs::path> kept() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(root_ / "cache/decoded")) files.push_back(entry.path());
    return files;
  }
  static std::string fault(const Source& source, std::int64_t index) {
    try {
      source.image(index);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      return error.what();
    }
    return "no Error was thrown";
  }
  static std::vector<std::uint8_t> stream(const Source& source) {
    Loader loader(source, {{.side = 24}, {.side = 12, .kernel = Kernel::kLanczos}}, {.color_jitter = 0.3},
                  {.batch_size = 6, .threads = 2, .max_bad_share = 1}, {});
    loader.start(0);
    std::vector<std::uint8_t> bytes;
    for (int step = 0; step < 12; ++step) {
      for (const auto& view : loader.next().views) bytes.insert(bytes.end(), view.begin(), view.end());
    }
    return bytes;
  }

  testing::TemporaryFolder root_;
  std::string said_;
};

TEST_F(DecodedSourceTest, GivesTheSameBatchesWhereNoImageIsMadeSmaller) {
  const auto plain = open(0), decoded = open(64);
  EXPECT_EQ(decoded->fingerprint(), plain->fingerprint());
  EXPECT_EQ(stream(*decoded), stream(*plain));
}

TEST_F(DecodedSourceTest, KeepsWhatAResizeGivesAndWhatIsKnownOfTheSamples) {
  const auto plain = open(0), decoded = open(32);
  ASSERT_EQ(decoded->size(), 24);
  EXPECT_EQ(decoded->classes(), plain->classes());
  for (std::int64_t i = 0; i < decoded->size(); ++i) {
    EXPECT_EQ(decoded->name(i), plain->name(i));
    EXPECT_EQ(decoded->label(i), plain->label(i));
    if (plain->name(i) == file(5)) {
      EXPECT_EQ(fault(*decoded, i), fault(*plain, i));
      continue;
    }
    const Image image = plain->image(i), small = decoded->image(i);
    EXPECT_EQ(small.height, 32);
    EXPECT_TRUE(same_pixels(small, resize(image, small.width, small.height, Kernel::kBicubic)));
    EXPECT_NEAR(small.width, 32.0 * 70 / image.height, 0.5);
  }
}

TEST_F(DecodedSourceTest, SaysTheSizeBeforeAndIsMadeOnce) {
  open(32);
  EXPECT_NE(said_.find("keeping 24 images decoded, short side at most 32: about "), std::string::npos) << said_;
  ASSERT_EQ(kept().size(), 1u);
  const double real = static_cast<double>(fs::file_size(kept()[0]));
  const double about = std::stod(said_.substr(said_.find("about") + 6));
  EXPECT_NEAR(about * 1024, real, 0.1 * real);
  open(32);
  EXPECT_EQ(said_, "");
  open(16);
  EXPECT_NE(said_, "");
}

TEST_F(DecodedSourceTest, IsMadeAnewWhenAFileChangedUnderItsName) {
  const Image before = open(32)->image(0);
  put(0, 77);
  const auto after = open(32);
  EXPECT_NE(said_.find("was made for other images"), std::string::npos) << said_;
  EXPECT_FALSE(same_pixels(after->image(0), before));
  EXPECT_EQ(kept().size(), 1u);
  put(24, 1);  // a new one
  EXPECT_EQ(open(32)->size(), 25);
  EXPECT_EQ(kept().size(), 1u);
}

TEST_F(DecodedSourceTest, DamageIsNamedOrMendedButNeverShown) {
  open(32);
  const fs::path file = kept()[0];
  const auto flip = [&](std::int64_t at) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at, at < 0 ? std::ios::end : std::ios::beg);
    const int byte = stream.get();
    stream.seekp(at, at < 0 ? std::ios::end : std::ios::beg);
    stream.put(static_cast<char>(byte ^ 1));
  };
  flip(100);
  const auto damaged = open(32);
  EXPECT_EQ(said_, "");
  EXPECT_NE(fault(*damaged, 0).find("is damaged. Remove that file"), std::string::npos) << fault(*damaged, 0);
  EXPECT_NO_THROW(damaged->image(1));
  flip(100);
  EXPECT_NO_THROW(open(32)->image(0));
  for (const std::int64_t at : {-1, -60, -200}) {  // footer, footer, table
    flip(at);
    EXPECT_NO_THROW(open(32)->image(0));
    EXPECT_NE(said_, "") << at;
  }
  for (const std::uintmax_t size : {std::uintmax_t{0}, std::uintmax_t{10}, fs::file_size(file) - 8}) {
    fs::resize_file(file, size);
    EXPECT_NO_THROW(open(32)->image(0));
    EXPECT_NE(said_, "") << size;
  }
}

TEST_F(DecodedSourceTest, NeedsAPlace) {
  SourceConfig config{.path = (root_ / "data").string(), .decoded_side = 32};
  EXPECT_THROW(open_source(config, Split::kTrain), Error);
}

}  // namespace
}  // namespace lacuna
