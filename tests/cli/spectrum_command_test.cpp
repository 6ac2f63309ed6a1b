// Images of many bands through the whole program.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "cli/run_config.h"
#include "cli/run_init.h"
#include "mim/composition.h"
#include "nn/backbone.h"
#include "support/answer.h"
#include "support/small_tiff.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

constexpr int kBands = 5, kSide = 48;
const std::string kFive = "data.bands=[0,1,2,3,4]", kRange = "data.range=[0,4000]";
const std::string kMean = "student.mean=[0.5,0.5,0.5,0.5,0.5]", kStd = "student.std=[0.2,0.2,0.2,0.2,0.2]";

// Three classes by the direction of their waves, 16 bits.
void write_field(const fs::path& path, int kind, int number) {
  SmallTiff tiff{.width = kSide, .height = kSide, .channels = kBands, .bits = 16};
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      for (int band = 0; band < kBands; ++band) {
        const double along = kind == 0 ? x : kind == 1 ? y : x + y;
        const double wave = std::sin(0.4 * along + number + band);
        tiff.samples.push_back(static_cast<std::uint32_t>(2000 + 900 * wave + 100 * band));
      }
    }
  }
  const std::vector<std::uint8_t> bytes = tiff_bytes(tiff);
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
}

class SpectrumCommands : public ::testing::Test {
 protected:
  SpectrumCommands() {
    for (const char* split : {"train", "val"}) {
      for (int kind = 0; kind < 3; ++kind) {
        const fs::path folder = folder_ / "data" / split / std::to_string(kind);
        fs::create_directories(folder);
        for (int i = 0; i < 6; ++i) write_field(folder / (std::to_string(i) + ".tif"), kind, i);
      }
    }
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  // Without the folder of the run.
  Words run(const std::string& method, const Words& more) const {
    Words words = {"pretrain", "method=" + method, "model=micro"};
    for (const std::string& word : tiny_data()) {
      if (!word.starts_with("data") && !word.starts_with("log.pictures")) words.push_back(word);
    }
    return joined(joined(words, {"data=" + path("data"), "data.cache=off", "log.pictures=4", "eval.linear=false",
                                 "checkpoint.keep_last=9"}),
                  more);
  }

  TemporaryFolder folder_;
};

TEST_F(SpectrumCommands, ARunLearnsEvaluatesAndGoesOut) {
  const std::string checked = answer({"data", "check", path("data"), kFive, kRange, "data.cache=off", "--json"});
  const auto report = nlohmann::json::parse(checked);
  EXPECT_EQ(report["train"]["mean"].size(), 5u);
  EXPECT_NEAR(report["train"]["mean"][0].get<double>(), 0.5, 0.06);
  EXPECT_GT(report["train"]["mean"][4].get<double>(), report["train"]["mean"][0].get<double>() + 0.05);

  const Words small = {kFive, kRange, kMean, kStd, "image_size=48", "patch_size=8"};
  const std::string said = answer(joined(run("mae", small), {"out=" + path("run")}));
  EXPECT_SAYS(said, "input 5 channels of 48 px");
  EXPECT_SAYS(said, "done: 8 steps");
  EXPECT_TRUE(fs::exists(folder_ / "run/pictures/step-8.png"));
  EXPECT_SAYS(answer({"eval", "knn", path("run"), "data=" + path("data"), kFive, kRange, "knn.k=3", "data.cache=off"}),
              "18 training and 18 validation images");
  EXPECT_SAYS(answer({"eval", "knn", path("run"), "data=" + path("data"), "knn.k=3", "data.cache=off"}, 2),
              "the network sees 5 channels, and the images have red, green and blue");
  EXPECT_SAYS(answer({"embed", path("run"), path("data/val"), "--out", path("e.npz"), kFive, kRange}), "18 rows");
  EXPECT_SAYS(answer({"inspect", path("run/export")}), "5 channels, 48 px");
  for (const char* target : {"timm", "hf", "safetensors"}) {
    answer({"export", path("run"), path(target), std::string("--to=") + target});
    EXPECT_SAYS(answer({"compare", path("run/export"), path(target)}), "equal (tolerance 0)");
  }
  EXPECT_SAYS(content_of(folder_ / "timm/README.md"), "5 channels, shorter edge");

  // The state of a resumed run is that of one that went through.
  fs::remove_all(folder_ / "run/checkpoints/step-8");
  fs::remove_all(folder_ / "run/checkpoints/step-6");
  std::ofstream(folder_ / "run/checkpoints/last") << "step-4";
  const auto before = hash_at(folder_ / "run", 4);
  ASSERT_NE(before, "no such checkpoint");
  EXPECT_SAYS(answer({"resume", path("run")}), "done: 8 steps");
  EXPECT_EQ(hash_of_run(run("mae", small), folder_ / "again"), hash_at(folder_ / "run"));
}

TEST_F(SpectrumCommands, ATeacherOfThreeBandsIsChosen) {
  const Words five = {kFive, kRange, kMean, kStd, "augment.color_jitter=0", "teacher=" + tiny_teacher().string()};
  EXPECT_SAYS(answer(joined(run("cae_v2", five), {"out=" + path("run")}), 2),
              "data.rgb_bands: a teacher of this method sees red, green");
  const std::string rgb = "data.rgb_bands=[3,1,0]";
  EXPECT_SAYS(answer(joined(run("cae_v2", joined(five, {rgb})), {"out=" + path("run")})), "input 5 channels of 48 px");
  EXPECT_SAYS(answer({"data", "show", path("data"), "--out", path("s.png"), "samples=2", "method=cae_v2", "model=micro",
                      "augment.color_jitter=0", kFive, kRange, kMean, kStd, rgb, "data.cache=off",
                      "teacher=" + tiny_teacher().string()}),
              "2 views after augmentation");

  // Other bands for the teacher are other targets: the state differs, though the student sees the same.
  const std::string same = hash_of_run(run("cae_v2", joined(five, {rgb})), folder_ / "same");
  EXPECT_EQ(same, hash_at(folder_ / "run"));
  EXPECT_NE(same, hash_of_run(run("cae_v2", joined(five, {"data.rgb_bands=[4,2,0]"})), folder_ / "other"));
}

TEST_F(SpectrumCommands, SettingsThatDoNotFitAreNamed) {
  const auto fault = [&](const Words& more) { return answer(joined(run("mae", more), {"out=" + path("none")}), 2); };
  EXPECT_SAYS(fault({kFive}), "the student sees 5 channels and needs as many numbers, found 3 and 3");
  EXPECT_SAYS(fault({kFive, kMean, kStd, "augment.color_jitter=0.4"}), "are of red, green and blue");
  EXPECT_SAYS(fault({"data.rgb_bands=[0,1,2]"}), "data.rgb_bands");
  EXPECT_SAYS(fault({kFive, "data.rgb_bands=[0,1]"}), "expected three channels");
  EXPECT_SAYS(fault({kRange}), "set data.bands");
  EXPECT_SAYS(fault({kFive, "data.range=[3,3]"}), "as in [0,10000]");
  EXPECT_SAYS(fault({"data.bands=[0,-1,2]"}), "data.bands");
  EXPECT_SAYS(answer(joined(run("mae", {"data.bands=[0,1,2,9]", "student.mean=[0,0,0,0]", "student.std=[1,1,1,1]"}),
                            {"out=" + path("bad")}),
                     3),
              "asks for channel 9, but the file has 5");
}

// timm's adapt_input_conv: colours in turn, scaled so that equal channels give what three gave.
TEST(SpectrumInit, AnEmbeddingOfThreeChannelsIsSpreadOverOthers) {
  const TemporaryFolder folder;
  Composition c = default_run("mae", "micro").recipe.composition;
  c.student.image_side = 16;
  c.student.patch_side = 8;
  const auto three = build_method(c, nullptr, 3);
  export_student(*three, folder / "three");
  const at::Tensor source = three->student()->vit->patch_embed->weight.detach().unflatten(1, {3, 64});  // [D,3,PP]
  for (const int64_t channels : {1, 2, 5}) {
    c.student.spectrum = channels;
    const std::vector<double> numbers(static_cast<size_t>(channels), 0.5);
    c.student.stats = {.mean = numbers, .std = numbers};
    const auto other = build_method(c, nullptr, 4);
    start_from(*other, folder / "three", InitFit::kWhole, 4);
    const at::Tensor found = other->student()->vit->patch_embed->weight.detach().unflatten(1, {channels, 64});
    for (int64_t i = 0; i < channels; ++i) {
      const at::Tensor expected =
          channels == 1 ? source.sum(1) : source.select(1, i % 3) * (3.0 / static_cast<double>(channels));
      EXPECT_TRUE(found.select(1, i).allclose(expected, 0, 1e-6)) << channels << " channels, " << i;
    }
  }
}

}  // namespace
}  // namespace lacuna
