// lacuna data, as a user runs it.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "io/image/image.h"
#include "io/image/png_writer.h"
#include "support/answer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

class DataCommand : public ::testing::Test {
 protected:
  DataCommand() {
    for (const char* split : {"train", "val"}) {
      for (const char* label : {"cat", "dog"}) {
        const fs::path folder = folder_ / "data" / split / label;
        fs::create_directories(folder);
        for (int i = 0; i < 6; ++i) {
          Image image(64, 56);
          std::fill(image.pixels.begin(), image.pixels.end(),
                    static_cast<std::uint8_t>(i * 10 + (label[0] == 'c' ? 0 : 100) + (split[0] == 't' ? 0 : 5)));
          write_png(folder / (std::to_string(i) + ".png"), image);
        }
      }
    }
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
};

TEST_F(DataCommand, CheckSaysWhatIsThereAndEndsWithThreeWhereSomethingIsBroken) {
  const std::string said = answer({"data", "check", path("data"), "data.cache=off"});
  EXPECT_SAYS(said, "12, 12 can be read, 0 cannot");
  EXPECT_SAYS(said, "2; 6 images each");
  EXPECT_SAYS(said, "0 val files are among the train files");
  fs::copy_file(path("data/train/cat/0.png"), path("data/val/dog/copy.png"));
  std::ofstream(path("data/val/dog/broken.png")) << "x";
  const Ended ended = lacuna_run({"data", "check", path("data"), "--json", "data.cache=off"});
  EXPECT_EQ(ended.code, 3) << ended.err;
  const auto report = nlohmann::json::parse(ended.out);
  EXPECT_EQ(report["train"]["samples"], 12);
  EXPECT_EQ(report["val"]["broken"].size(), 1u);
  EXPECT_EQ(report["val"]["classes"]["dog"], 8);
  EXPECT_EQ(report["val_files_in_train"], 1);
}

TEST_F(DataCommand, PackedShardsAndDecodedImagesTrainAsTheFolderDoes) {
  const std::string said = answer({"data", "pack", path("data"), path("packed"), "data.cache=off"});
  EXPECT_SAYS(said, "stored byte for byte");
  EXPECT_SAYS(said, "12 images in 1 shard, ");
  EXPECT_SAYS(answer({"data", "check", path("packed"), "data.cache=off"}), "6 images each");
  EXPECT_SAYS(answer({"data", "pack", path("data"), path("packed")}, 2), "holds this pack already");
  std::map<std::string, std::string> losses;
  for (const char* data : {"data", "packed", "decoded"}) {
    const bool decoded = std::string(data) == "decoded";
    Words run{"pretrain",
              "method=mae",
              "model=micro",
              "image_size=32",
              "patch_size=8",
              "batch_size=4",
              "threads=1",
              "duration=3 steps",
              "log.every=1",
              "log.pictures=0",
              "eval.every=0",
              "lr=1e-3",
              "precision=f32",
              "eval.k=2",
              "data=" + path(decoded ? "data" : data),
              "out=" + path(std::string("run-") + data)};
    run.push_back("data.cache=" + (decoded ? path("cache") : "off"));
    if (decoded) run.push_back("data.decoded_side=56");
    const Ended ended = lacuna_run(run);
    EXPECT_EQ(ended.code, 0);
    EXPECT_EQ(ended.err.find("keeping 12 images decoded") != std::string::npos, decoded) << ended.err;
    std::ifstream metrics(folder_ / (std::string("run-") + data) / "metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      const auto record = nlohmann::json::parse(line);
      if (record.contains("loss")) losses[data] += record["loss"].dump() + " ";
    }
  }
  EXPECT_FALSE(losses["data"].empty());
  EXPECT_EQ(losses["data"], losses["packed"]);
  EXPECT_EQ(losses["data"], losses["decoded"]);
}

TEST_F(DataCommand, ShowWritesAContactSheet) {
  const std::string sheet = path("sheet.png");
  const std::string said = answer({"data", "show", path("data"), "--out", sheet, "samples=3", "model=micro",
                                   "image_size=32", "patch_size=8", "data.cache=off"});
  EXPECT_SAYS(said, "3 samples");
  const Image image = load_image(sheet);
  EXPECT_EQ(image.height, 3 * (96 + 4) + 4);  // 32 px drawn three times as large
  EXPECT_EQ(image.width, 3 * (96 + 4) + 4);   // whole, view, masked
  for (const char* label : {"cat", "dog"}) {
    for (int i = 0; i < 3; ++i) std::ofstream(path("data/train/") + label + "/bad" + std::to_string(i) + ".png") << "x";
  }
  EXPECT_SAYS(answer({"data", "show", path("data"), "--out", sheet, "samples=18", "model=micro", "image_size=32",
                      "patch_size=8", "data.cache=off"}),
              "6 samples could not be read, and others took their place");
  EXPECT_SAYS(answer({"data", "show", path("data")}, 2), "--out FILE.png");
  EXPECT_SAYS(answer({"data", "paint"}, 2), "found 'paint'");
  EXPECT_SAYS(answer({"data", "show", "--help"}), "lacuna data show PATH --out FILE.png");
}

TEST_F(DataCommand, SourcesAreMixedByWeight) {
  const Words mixed{"plan",
                    "method=mae",
                    "model=micro",
                    "image_size=32",
                    "patch_size=8",
                    "data.cache=off",
                    "batch_size=4",
                    "data=" + path("data/train"),
                    "data.also=[\"" + path("data/val") + "\"]"};
  EXPECT_SAYS(answer(mixed), "24 images");
  Words wrong = mixed;
  wrong.push_back("data.weights=[1,2,3]");
  EXPECT_SAYS(answer(wrong, 2), "a weight for each of the 2 sources");
}

}  // namespace
}  // namespace lacuna
