// Damaged files: whatever is done to one, a decoder gives an image or Error(kBadData), within bounds of memory and time
// that its limits set. The fuzzers in fuzz/ go deeper; this runs with every test.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/files.h"
#include "io/image/image.h"
#include "io/image/png_writer.h"
#include "support/shared.h"
#include "support/small_tiff.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::shared_folder;

using Content = std::vector<std::uint8_t>;

constexpr DecodeLimits kLimits{
    .max_pixels = 1 << 18, .max_file_bytes = 1 << 20, .max_progressive_scans = 50, .max_side = 1 << 13};
constexpr int kMutations = 10'000;

std::size_t below(Rng& rng, std::size_t count) {
  return static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(count) - 1));
}

// Bits, bytes and numbers changed, runs copied, removed or cut off; half of it near the start, where the headers are.
Content mutated(const Content& whole, Rng& rng) {
  static constexpr std::array<std::uint8_t, 6> kEdges = {0x00, 0xFF, 0x7F, 0x80, 0x01, 0xFE};
  Content out = whole;
  const int changes = static_cast<int>(rng.integer(1, 6));
  for (int i = 0; i < changes && !out.empty(); ++i) {
    const std::size_t reach = rng.chance(0.5) ? std::min<std::size_t>(out.size(), 128) : out.size();
    const std::size_t at = below(rng, reach), run = std::min(out.size() - at, 1 + below(rng, 64));
    const auto first = out.begin() + static_cast<std::ptrdiff_t>(at), last = first + static_cast<std::ptrdiff_t>(run);
    switch (rng.integer(0, 5)) {
      case 0:
        out[at] = static_cast<std::uint8_t>(out[at] ^ (1u << below(rng, 8)));
        break;
      case 1:
        out[at] = static_cast<std::uint8_t>(rng.bits());
        break;
      case 2:
        std::fill(first, first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(run, 4)), kEdges[below(rng, 6)]);
        break;
      case 3:
        out.erase(first, last);
        break;
      case 4: {
        const Content copy(first, last);
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(below(rng, out.size())), copy.begin(), copy.end());
        break;
      }
      default:
        if (rng.chance(0.3)) out.resize(at);
        break;
    }
  }
  return out;
}

// Small files of every format; the reference ones where they are there.
std::vector<Content> seeds() {
  Image picture(16, 12);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<std::uint8_t>(i * i % 251);
  testing::SmallTiff tiff{.width = 4, .height = 4, .channels = 3, .photometric = 2};
  for (int i = 0; i < 48; ++i) tiff.samples.push_back(static_cast<std::uint16_t>(i));
  std::vector<Content> found = {encode_png(picture), testing::tiff_bytes(tiff)};
  const fs::path folder = shared_folder() / "golden/preprocess/files";
  if (!fs::exists(folder)) return found;
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.insert(entry.path());
  for (const fs::path& file : files) {
    const std::string content = read_file(file, 1 << 24);
    found.emplace_back(content.begin(), content.end());
  }
  return found;
}

TEST(Decoders, SurviveTenThousandMutations) {
  const std::vector<Content> originals = seeds();
  int decoded = 0, refused = 0;
  for (std::uint64_t i = 0; i < kMutations; ++i) {
    Rng rng(20, Purpose::kTest, 0, i);
    const Content content = mutated(originals[i % originals.size()], rng);
    const DecodeOptions options{.orient = rng.chance(0.5), .scale_gray16 = rng.chance(0.5)};
    try {
      const Image image = decode_image(content, "mutated", kLimits, options);
      ASSERT_GT(image.width, 0);
      ASSERT_GT(image.height, 0);
      ASSERT_LE(std::int64_t{image.width} * image.height, kLimits.max_pixels);
      ASSERT_EQ(image.pixels.size(),
                static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
      ++decoded;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::kBadData) << error.what();
      ASSERT_TRUE(std::string(error.what()).starts_with("mutated: ")) << error.what();
      ++refused;
    }
  }
  RecordProperty("decoded", decoded);
  RecordProperty("refused", refused);
  EXPECT_GT(decoded, kMutations / 20);
  EXPECT_GT(refused, kMutations / 20);
}

// A damaged file must not give different pixels from one time to the next: nothing unset is ever shown.
TEST(Decoders, GiveTheSamePixelsOfADamagedFileEachTime) {
  const std::vector<Content> originals = seeds();
  int compared = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Rng rng(21, Purpose::kTest, 0, i);
    const Content content = mutated(originals[i % originals.size()], rng);
    try {
      const Image first = decode_image(content, "mutated", kLimits);
      const std::vector<std::uint8_t> dirt(first.pixels.size(), 0xA5);  // what the next allocation may find
      EXPECT_EQ(decode_image(content, "mutated", kLimits).pixels, first.pixels) << i;
      ++compared;
    } catch (const Error&) {
      continue;
    }
  }
  EXPECT_GT(compared, 50);
}

}  // namespace
}  // namespace lacuna
