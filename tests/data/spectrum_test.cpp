// Views, sources and reports of images with a spectrum.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/data_report.h"
#include "data/loader.h"
#include "data/pack.h"
#include "data/source/open_source.h"
#include "data/view/render.h"
#include "support/golden_image.h"
#include "support/small_tiff.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using testing::same_pixels;
using testing::SmallTiff;
using testing::TemporaryFolder;

constexpr int kChannels = 5;

// Smooth enough that resizing matters, different in each channel.
Image channel_of(int channel, int sample, int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double wave = std::sin(0.3 * x * (channel + 1) + sample) + std::cos(0.2 * y + channel);
      std::fill_n(image.row(y) + std::ptrdiff_t{3} * x, 3, static_cast<std::uint8_t>(127 + 60 * wave));
    }
  }
  return image;
}

std::vector<std::uint8_t> tiff_of(int sample, int width, int height) {
  SmallTiff tiff{.width = width, .height = height, .channels = kChannels};
  std::vector<Image> channels;
  channels.reserve(kChannels);
  for (int c = 0; c < kChannels; ++c) channels.push_back(channel_of(c, sample, width, height));
  for (std::size_t i = 0; i < channels[0].pixels.size(); i += 3) {
    for (const Image& channel : channels) tiff.samples.push_back(channel.pixels[i]);
  }
  return testing::tiff_bytes(tiff);
}

const DecodeOptions kDecode{.bands = {3, 1, 0}, .spectrum = {4, 0, 2, 3, 1}};

AugmentConfig plain() { return {.crop_min = 0.2, .color_jitter = 0}; }

class SpectrumTest : public ::testing::Test {
 protected:
  SpectrumTest() {
    std::filesystem::create_directories(folder_ / "data");
    for (int i = 0; i < kSamples; ++i) {
      const std::vector<std::uint8_t> bytes = tiff_of(i, width_of(i), 40);
      std::ofstream out(folder_ / ("data/" + std::to_string(i) + ".tif"), std::ios::binary);
      out.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    }
  }
  static int width_of(int sample) { return 40 + 7 * sample; }
  SourceConfig config() const {
    return {.path = (folder_ / "data").string(), .class_captions = {}, .decode = kDecode, .cache = {}};
  }
  std::unique_ptr<Source> source(const SourceConfig& config) const { return open_source(config, Split::kTrain); }

  static constexpr int kSamples = 6;
  TemporaryFolder folder_;
};

// A channel in a view is that channel alone, cropped, mirrored and resized by the same draws as the colours.
TEST_F(SpectrumTest, EachChannelOfAViewIsThatChannelRenderedAlone) {
  const std::vector<ViewSpec> views = {{.side = 24, .spectrum = kChannels},
                                       {.side = 24},
                                       {.side = 16, .kernel = Kernel::kLanczos, .spectrum = 2},
                                       {.side = 24, .crop = 1, .spectrum = 1}};
  AugmentConfig config = plain();
  config.blur = 0.5;
  config.solarize = 0.5;
  const auto all = source(this->config());
  ViewRenderer renderer;
  ImageReader reader;
  for (std::uint64_t epoch = 0; epoch < 8; ++epoch) {
    for (int sample = 0; sample < kSamples; ++sample) {
      std::vector<std::vector<std::uint8_t>> found;
      std::vector<std::uint8_t*> places;
      found.reserve(views.size()), places.reserve(views.size());
      for (const ViewSpec& view : views) found.emplace_back(view.bytes());
      for (auto& bytes : found) places.push_back(bytes.data());
      all->open(sample, reader);
      renderer.render(reader, config, views, 3, epoch, static_cast<std::uint64_t>(sample), places);
      for (int c = 0; c < kChannels; ++c) {
        const int channel = kDecode.spectrum[static_cast<std::size_t>(c)];
        std::vector<ViewSpec> colors = views;
        for (ViewSpec& view : colors) view.spectrum = 0;
        const auto alone = render_views(channel_of(channel, sample, width_of(sample), 40), config, colors, 3, epoch,
                                        static_cast<std::uint64_t>(sample));
        for (std::size_t v = 0; v < views.size(); ++v) {
          const int place = views[v].spectrum > 0
                                ? c
                                : static_cast<int>(std::find(kDecode.bands.begin(), kDecode.bands.end(), channel) -
                                                   kDecode.bands.begin());
          if (place >= views[v].channels()) continue;
          const auto count = static_cast<std::size_t>(views[v].channels());
          for (std::size_t i = 0; i < alone[v].pixels.size() / 3; ++i)
            ASSERT_EQ(found[v][i * count + static_cast<std::size_t>(place)], alone[v].pixels[3 * i])
                << "view " << v << ", channel " << channel;
        }
      }
    }
  }
}

TEST_F(SpectrumTest, BatchesAreTheSameFromFilesShardsAndDecodedImages) {
  const auto batches = [&](const Source& source) {
    const std::vector<ViewSpec> views = {{.side = 16, .spectrum = kChannels}, {.side = 8}};
    Loader loader(source, views, plain(), {.batch_size = 3, .threads = 2}, {});
    loader.start(0);
    std::vector<std::vector<std::uint8_t>> out;
    for (int i = 0; i < 4; ++i) {
      for (const auto& view : loader.next().views) out.push_back(view);
    }
    return out;
  };
  const auto files = source(config());
  ASSERT_EQ(files->spectrum(), kChannels);
  const auto expected = batches(*files);
  EXPECT_EQ(expected[0].size(), 3u * 16 * 16 * kChannels);

  pack(*files, folder_ / "shards", {}, 1, {});
  SourceConfig shards = config();
  shards.path = (folder_ / "shards").string();
  EXPECT_EQ(batches(*source(shards)), expected);
  EXPECT_THROW(pack(*files, folder_ / "smaller", {.side = 20}, 1, {}), Error);

  SourceConfig decoded = config();
  decoded.cache = folder_ / "cache";
  decoded.decoded_side = 40;
  EXPECT_EQ(batches(*source(decoded)), expected);
  EXPECT_TRUE(same_pixels(source(decoded)->image(2), files->image(2)));
  decoded.decode.spectrum = {0, 1};  // another file is made
  EXPECT_EQ(source(decoded)->sheets(0).size(), 2u);

  SourceConfig mixed = config();
  mixed.also = {shards.path};
  const auto both = source(mixed);
  EXPECT_EQ(both->spectrum(), kChannels);
  EXPECT_EQ(both->sheets(kSamples)[0].pixels, files->sheets(0)[0].pixels);
}

TEST_F(SpectrumTest, TheReportMeasuresEachChannel) {
  const DataReport report = look_at(*source(config()), 2);
  ASSERT_EQ(report.channels.size(), static_cast<std::size_t>(kChannels));
  for (std::size_t c = 0; c < report.channels.size(); ++c) {
    double mean = 0, squares = 0;
    for (int sample = 0; sample < kSamples; ++sample) {
      const Image image = channel_of(kDecode.spectrum[c], sample, width_of(sample), 40);
      const double count = static_cast<double>(image.pixels.size());
      for (const std::uint8_t level : image.pixels) {
        mean += level / count / kSamples;
        squares += level * (level / count) / kSamples;
      }
    }
    EXPECT_NEAR(report.channels[c].mean, mean / 255, 1e-8);
    EXPECT_NEAR(report.channels[c].std, std::sqrt(squares - mean * mean) / 255, 1e-6);
  }
}

TEST(SpectrumOfScenes, IsRefused) {
  EXPECT_THROW(
      open_source({.path = "shapes", .class_captions = {}, .decode = {.spectrum = {0}}, .cache = {}}, Split::kTrain),
      Error);
}

}  // namespace
}  // namespace lacuna
