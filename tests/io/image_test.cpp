#include "io/image/image.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "io/image/png_writer.h"
#include "support/golden_image.h"
#include "support/sha256.h"
#include "support/shared.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::golden_image;
using testing::same_pixels;
using testing::sha256;
using testing::shared_folder;
using testing::TemporaryFolder;

bool is_supported(const std::string& format) {
  return format == "JPEG" || format == "MPO" || format == "PNG" || format == "WEBP" || format == "GIF" ||
         format == "TIFF";
}

// The text of the refusal, checked for its form; nothing when the image was decoded.
std::optional<std::string> refusal(const std::vector<std::uint8_t>& bytes, const std::string& name, Image* image) {
  try {
    *image = decode_image(bytes, name);
    return std::nullopt;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    EXPECT_EQ(std::string(error.what()).rfind(name + ": ", 0), 0u) << error.what();
    EXPECT_GT(std::string(error.what()).size(), name.size() + 10) << error.what();
    return error.what();
  }
}

// Files on which we knowingly differ from Pillow 13, with the reason.
const std::map<std::string, std::string> kKnownDifferences = {
    {"hostile_images/pillow/png_decompression_dos.png",
     "Pillow inflates text chunks and stops at its limit; we do not look at them, so the pixels are all there"},
};

TEST(DecodeImage, EqualsPillowOnTheReferenceFiles) {
  LACUNA_NEEDS_SHARED("golden/preprocess/decode.json");
  const fs::path folder = shared_folder() / "golden/preprocess";
  const TensorFile tensors(folder / "decode.safetensors");
  int decoded = 0;
  int refused = 0;
  int other_format = 0;
  const nlohmann::json table = read_json(folder / "decode.json");
  for (const auto& row : table.at("cases")) {
    const std::string path = row.at("path");
    const fs::path file = (path.rfind("files/", 0) == 0 ? folder : shared_folder() / "data") / path;
    Image image;
    const auto reason = refusal(bytes_of(file), path, &image);
    const bool supported = is_supported(row.value("format", ""));
    if (row.at("status") == "ok" && supported) {
      ASSERT_FALSE(reason.has_value()) << *reason;
      EXPECT_EQ(sha256(image.pixels), row.at("rgb_sha256")) << path;
      if (row.contains("tensor") && !row.at("tensor").is_null()) {
        EXPECT_TRUE(same_pixels(image, golden_image(tensors, row.at("tensor")))) << path;
      }
      ++decoded;
    } else if (!kKnownDifferences.contains(path)) {
      EXPECT_TRUE(reason.has_value()) << path << " must be refused";
      const bool readable = row.at("status") == "ok";  // by others: BMP has no small, well-kept library
      if (readable) {
        EXPECT_EQ(row.at("format"), "BMP") << path;
      }
      ++(readable ? other_format : refused);
    }
  }
  RecordProperty("decoded", decoded);
  RecordProperty("refused", refused);
  RecordProperty("other_format", other_format);
  EXPECT_EQ(decoded, 120);
  EXPECT_EQ(refused, 26);
  EXPECT_EQ(other_format, 6);  // and one known difference
}

struct Verdict {
  std::string path, status, format, rgb_sha256, differing_pillows, libjpeg_turbo;
};

std::vector<Verdict> read_verdicts(const fs::path& table) {
  std::vector<Verdict> verdicts;
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::vector<std::string> fields(1);
    for (const char c : line) {
      if (c == '\t') {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
    fields.resize(9);
    verdicts.push_back({fields[0], fields[1], fields[2], fields[6], fields[7], fields[8]});
  }
  return verdicts;
}

class HostileFiles {
 public:
  // The bytes of "path" or "archive!member" below the data folder.
  std::vector<std::uint8_t> bytes(const std::string& name) {
    const std::size_t mark = name.find('!');
    const fs::path data = shared_folder() / "data";
    if (mark == std::string::npos) return bytes_of(data / name);
    return bytes_of(unpacked(data / name.substr(0, mark)) / name.substr(mark + 1));
  }

 private:
  const fs::path& unpacked(const fs::path& archive) {
    if (unpacked_.insert(archive.string()).second) {
      const std::string command = "tar -xf '" + archive.string() + "' -C '" + folder_.path().string() + "'";
      if (std::system(command.c_str()) != 0) throw std::runtime_error("cannot unpack " + archive.string());
    }
    return folder_.path();
  }

  TemporaryFolder folder_;
  std::set<std::string> unpacked_;
};

TEST(DecodeImage, AgreesWithPillowOnEveryFileOfTheDataFolder) {
  LACUNA_NEEDS_SHARED("golden/preprocess/decode_all.tsv");
  HostileFiles files;
  std::map<std::string, int> counts;
  for (const Verdict& verdict : read_verdicts(shared_folder() / "golden/preprocess/decode_all.tsv")) {
    Image image;
    const auto reason = refusal(files.bytes(verdict.path), verdict.path, &image);
    const bool disputed = !verdict.differing_pillows.empty() || verdict.libjpeg_turbo == "DIFFERENT" ||
                          verdict.libjpeg_turbo == "accepted";
    if (disputed || kKnownDifferences.contains(verdict.path)) {
      ++counts["not gated"];
    } else if (verdict.status == "refused" || !is_supported(verdict.format)) {
      EXPECT_TRUE(reason.has_value()) << verdict.path << " must be refused: " << verdict.rgb_sha256;
      EXPECT_TRUE(verdict.status == "refused" || verdict.format == "BMP") << verdict.path << " is " << verdict.format;
      ++counts[verdict.status == "refused" ? "refused" : "other format"];
    } else {
      EXPECT_FALSE(reason.has_value()) << *reason;
      EXPECT_EQ(sha256(image.pixels), verdict.rgb_sha256) << verdict.path;
      ++counts["equal"];
    }
  }
  for (const auto& [what, count] : counts) RecordProperty(what, count);
  EXPECT_EQ(counts["equal"], 589);
  EXPECT_EQ(counts["refused"], 538);
  EXPECT_EQ(counts["other format"], 4);  // BMP
  EXPECT_EQ(counts["not gated"], 18);    // damaged files that Pillow's or libjpeg-turbo's versions judge differently
}

TEST(DecodeImage, NamesTheFormatItCannotRead) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path folder = shared_folder() / "golden/preprocess/files";
  Image image;
  const auto reason = refusal(bytes_of(folder / "bmp_rgb.bmp"), "bmp_rgb.bmp", &image);
  ASSERT_TRUE(reason.has_value());
  EXPECT_NE(reason->find("is BMP"), std::string::npos) << *reason;
  EXPECT_NE(reason->find("JPEG, PNG, WebP, GIF and TIFF"), std::string::npos) << *reason;
}

TEST(DecodeImage, BoundsPixelsByTheHeader) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path folder = shared_folder() / "golden/preprocess/files";
  for (const char* file :
       {"jpeg_420.jpg", "png_rgb8.png", "webp_lossy.webp", "gif.gif", "tiff_lzw.tif"}) {  // 61 x 47 = 2867
    DecodeLimits limits;
    limits.max_pixels = 2867;
    EXPECT_NO_THROW(load_image(folder / file, limits)) << file;
    limits.max_pixels = 2866;
    EXPECT_THROW(load_image(folder / file, limits), Error) << file;
    limits = {};
    limits.max_side = 61;
    EXPECT_NO_THROW(load_image(folder / file, limits)) << file;
    limits.max_side = 60;
    EXPECT_THROW(load_image(folder / file, limits), Error) << file;
  }
}

TEST(DecodeImage, BoundsProgressiveScans) {
  LACUNA_NEEDS_SHARED("golden/preprocess/files");
  const fs::path file = shared_folder() / "golden/preprocess/files/jpeg_progressive_420.jpg";
  DecodeLimits limits;
  EXPECT_NO_THROW(load_image(file, limits));
  limits.max_progressive_scans = 2;
  EXPECT_THROW(load_image(file, limits), Error);
}

TEST(DecodeImage, RefusesEveryTruncationOfAPng) {
  Image image(19, 7);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 91 % 256);
  const std::vector<std::uint8_t> whole = encode_png(image);
  const std::size_t end_of_data = whole.size() - 12 - 4 - 4;  // less IEND, IDAT's checksum and zlib's
  for (std::size_t size = 0; size + 8 < end_of_data; ++size) {
    Image out;
    EXPECT_TRUE(refusal({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, "cut", &out)) << size;
  }
}

TEST(DecodeImage, RefusesAPngThatClaimsMoreThanItsDataCanHold) {
  std::vector<std::uint8_t> png = encode_png(Image(2, 2));
  Image out;
  ASSERT_FALSE(refusal(png, "small", &out));
  // 8192 x 8192 in IHDR, with the checksum that belongs to it.
  for (const std::size_t at : {18u, 22u}) png[at] = 0x20, png[at + 1] = 0;
  const std::array<std::uint8_t, 4> checksum = {0xFD, 0xC8, 0x5D, 0x0E};
  std::copy(checksum.begin(), checksum.end(), png.begin() + 29);
  const auto reason = refusal(png, "bomb", &out);
  ASSERT_TRUE(reason);
  EXPECT_NE(reason->find("cannot hold"), std::string::npos) << *reason;
}

TEST(LoadImage, NamesAFileThatIsNotThere) {
  try {
    load_image("no/such/picture.png");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_EQ(std::string(error.what()).rfind("no/such/picture.png: ", 0), 0u) << error.what();
  }
}

TEST(LoadImage, BoundsTheFile) {
  TemporaryFolder folder;
  const fs::path path = folder.path() / "picture.png";
  write_png(path, Image(4, 4));
  DecodeLimits limits;
  limits.max_file_bytes = 10;
  EXPECT_THROW(load_image(path, limits), Error);
}

TEST(WritePng, RoundTripsAndLeavesNothingElse) {
  TemporaryFolder folder;
  Image image(33, 21);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 29 % 256);
  write_png(folder.path() / "picture.png", image);
  EXPECT_TRUE(same_pixels(load_image(folder.path() / "picture.png"), image));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(IsImageName, GoesByTheExtensionInAnyCase) {
  for (const char* name :
       {"a.jpg", "b.JPEG", "c.Png", "d/e.webp", "f.jpe", "g.JFIF", "two.parts.jpg", "h.GIF", "i.tif", "j.Tiff"}) {
    EXPECT_TRUE(is_image_name(name)) << name;
  }
  for (const char* name : {"a.bmp", "b.txt", "jpg", ".jpg", "c.jpg.part", ""})
    EXPECT_FALSE(is_image_name(name)) << name;
}

}  // namespace
}  // namespace lacuna
