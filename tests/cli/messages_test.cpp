// What the program says to a mistake, and with which code it leaves.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "cli/commands.h"
#include "io/image/png_writer.h"
#include "support/answer.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

// The refusal of a command, run inside this process.
std::string refusal(int (*command)(Arguments), const Words& arguments, ExitCode code = ExitCode::kUser) {
  ::testing::internal::CaptureStdout();
  std::string message = "no error";
  try {
    command(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    message = error.what();
  }
  ::testing::internal::GetCapturedStdout();
  return message;
}

class Messages : public ::testing::Test {
 protected:
  // The tiny CAE v2 run with its teacher, changed by `more`.
  std::string pretrain(const Words& more, ExitCode code = ExitCode::kUser) {
    Words arguments = joined(tiny_cae(), {"out=" + (folder_ / "run").string()});
    arguments.erase(arguments.begin());
    for (const std::string& each : more) {
      const std::string key = each.substr(0, each.find('=') + 1);
      std::erase_if(arguments, [&](const std::string& argument) { return argument.starts_with(key); });
      arguments.push_back(each);
    }
    return refusal(pretrain_command, arguments, code);
  }
  fs::path write(const std::string& name, const std::string& content) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }
  // Ten images of which `bad` are none.
  fs::path images(int bad) const {
    for (int i = 0; i < 10; ++i) {
      const std::string name = "images/" + std::to_string(i) + ".png";
      const fs::path path = write(name, "no image");
      Image image(32, 32);
      std::fill(image.pixels.begin(), image.pixels.end(), static_cast<std::uint8_t>(20 * i));
      if (i >= bad) write_png(path, image);
    }
    return folder_ / "images";
  }

  TemporaryFolder folder_;
};

TEST_F(Messages, WhatIsMissingIsNamedWithTheKeyThatGivesIt) {
  EXPECT_SAYS(refusal(pretrain_command, {"out=" + (folder_ / "x").string()}), "data=DIR");
  EXPECT_SAYS(refusal(pretrain_command, {"data=shapes"}), "out=DIR");
  EXPECT_SAYS(pretrain({"teacher="}), "set teacher=DIR");
  EXPECT_SAYS(pretrain({"teacher=" + (folder_ / "none").string()}), "does not exist");
  EXPECT_SAYS(pretrain({"teacher=" + folder_.path().string()}), "holds no weights; expected model.safetensors");
  EXPECT_SAYS(pretrain({"data=" + (folder_ / "none").string()}), "holds no \"none\"");
  EXPECT_FALSE(fs::exists(folder_ / "run")) << "a refused run must leave nothing";
}

TEST_F(Messages, ATeacherOfAnotherGridIsRefusedWithTheSideThatFits) {
  const std::string message = pretrain({"patch_size=16", "image_size=48"});
  EXPECT_SAYS(message, "6 x 6");
  EXPECT_SAYS(message, "3 x 3");
  EXPECT_SAYS(message, "student.image_side of 96");
}

TEST_F(Messages, UnknownNamesComeWithTheNearest) {
  EXPECT_SAYS(pretrain({"mask.rato=0.3"}), "mask.ratio");
  EXPECT_SAYS(pretrain({"method=caev2"}), "did you mean cae_v2?");
  EXPECT_SAYS(pretrain({"model=bse"}), "base");
  EXPECT_SAYS(pretrain({"mask.kind=blok"}), "block");
  EXPECT_SAYS(refusal(methods_command, {"clop"}), "did you mean clip?");
  EXPECT_SAYS(refusal(config_command, {"mask.rati"}), "did you mean mask.ratio?");
}

TEST_F(Messages, AMistakeInARecipeIsNamedByFileAndLine) {
  const fs::path recipe =
      write("r.toml", "data = \"shapes\"\n\n[mask]\nratio = \"many\"\nkind = \"block\"\n\n[train]\naccumulate = 0\n");
  const std::string message = refusal(pretrain_command, {recipe.string()});
  EXPECT_SAYS(message, recipe.string() + ":4");
  EXPECT_SAYS(message, "mask.ratio");
  EXPECT_SAYS(message, recipe.string() + ":8");
  EXPECT_SAYS(refusal(pretrain_command, {write("broken.toml", "[mask\n").string()}), "broken.toml:1");
  EXPECT_SAYS(refusal(pretrain_command, {(folder_ / "absent.toml").string()}), "expected a recipe");
}

TEST_F(Messages, ValuesOutOfRangeAreNamedWithTheirRange) {
  EXPECT_SAYS(pretrain({"mask.ratio=1.5"}), "mask.ratio");
  EXPECT_SAYS(pretrain({"threads=0"}), "threads");
  EXPECT_SAYS(pretrain({"duration=10 %"}), "train.duration");
  EXPECT_SAYS(pretrain({"duration=0 steps"}), "train.duration");
  EXPECT_SAYS(pretrain({"lr=nan"}), "train.lr");
}

TEST_F(Messages, ContradictionsAreNamedWithWhatWouldHelp) {
  EXPECT_SAYS(pretrain({"mask.kind=none"}), "the mask hides none; raise mask.ratio");
  EXPECT_SAYS(pretrain({"mask.ratio=0"}), "the mask hides none");
  EXPECT_SAYS(pretrain({"completer.kind=none"}), "set completer.kind=regressor");
  EXPECT_SAYS(pretrain({"objective.0.region.cls=0", "objective.0.region.visible=0", "objective.0.region.masked=0"}),
              "nothing is supervised");
  EXPECT_SAYS(pretrain({"mask.kind=block_loose", "mask.min_block=2"}),
              "the same number of hidden patches in every image");
  EXPECT_SAYS(pretrain({"student.mode=paint"}), "Set completer.kind=none, or student.mode=drop");
  EXPECT_SAYS(pretrain({"objective.0.loss=cross_entropy"}), "use a tokenizer (teacher.kind=dvae or vqkd)");
  EXPECT_SAYS(pretrain({"warmup=9 steps"}), "shorten the warm-up");
  EXPECT_SAYS(pretrain({"batch_size=64"}), "32");
  EXPECT_SAYS(pretrain({"train.accumulate=3"}), "cannot be cut into 3 equal parts");
  EXPECT_SAYS(pretrain({"min_lr=1"}), "above the peak rate");
  EXPECT_SAYS(pretrain({"augment.crop_min=0.9", "augment.crop_max=0.5"}), "crop_min");
  EXPECT_SAYS(pretrain({"eval.k=500"}), "lower eval.k");
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

TEST_F(Messages, AGpuThatIsNotThereIsNotReplacedByTheCpu) {
  const std::string message = pretrain({"device=cuda:63"});
  EXPECT_NE(message, "no error");
  EXPECT_SAYS(message, "cuda:63");
  EXPECT_SAYS(pretrain({"device=tpu"}), "device: expected auto, cpu, cuda");
}

TEST_F(Messages, AFolderInUseIsNotTouched) {
  write("run/precious.txt", "mine");
  EXPECT_SAYS(pretrain({}), "is not empty");
  EXPECT_EQ(content_of(folder_ / "run/precious.txt"), "mine");
  write("run/config.toml", "");
  EXPECT_SAYS(pretrain({}), "lacuna resume");
  EXPECT_SAYS(pretrain({"out=" + (folder_ / "run/precious.txt").string()}), "not a folder");
}

TEST_F(Messages, CaptionsAreAskedForWhereAMethodReadsThem) {
  for (const std::string method : {"clip", "maskclip"}) {
    Words arguments = tiny_clip();
    arguments.erase(arguments.begin());
    std::replace(arguments.begin(), arguments.end(), std::string("method=clip"), "method=" + method);
    std::replace(arguments.begin(), arguments.end(), std::string("data=shapes"), "data=" + images(0).string());
    arguments.push_back("out=" + (folder_ / "run").string());
    EXPECT_SAYS(refusal(pretrain_command, arguments), "has no captions");
  }
}

TEST_F(Messages, TooManyBadImagesEndTheRunWithCodeThreeAndAList) {
  pretrain({"data=" + images(5).string(), "eval.data="}, ExitCode::kBadData);
  const std::string list = content_of(folder_ / "run/quarantine.jsonl");
  EXPECT_SAYS(list, ".png");
  EXPECT_SAYS(list, "reason");
}

TEST_F(Messages, AFewBadImagesAreListedAndTheRunEndsWell) {
  Words arguments = joined(tiny_cae(), {"out=" + (folder_ / "run").string(), "data.max_bad_share=0.3"});
  std::replace(arguments.begin(), arguments.end(), std::string("data=shapes"), "data=" + images(2).string());
  const Ended ended = lacuna_run(arguments);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_SAYS(ended.out, "images could not be read; they are listed in " + (folder_ / "run/quarantine.jsonl").string());
  const std::string list = content_of(folder_ / "run/quarantine.jsonl");
  EXPECT_SAYS(list, "/0.png");
  EXPECT_SAYS(list, "/1.png");
  EXPECT_FALSE(contains(list, "/2.png"));
}

TEST(ExitCodes, AreThoseOfTheHelp) {
  EXPECT_EQ(lacuna_run({"help"}).code, 0);
  EXPECT_EQ(lacuna_run({"--version"}).code, 0);
  EXPECT_EQ(lacuna_run({}).code, 2);
  const Ended unknown = lacuna_run({"pretrian"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_SAYS(unknown.err, "did you mean pretrain?");
  EXPECT_EQ(unknown.out, "");
  const TemporaryFolder folder;
  std::ofstream(folder / "junk.safetensors") << "junk";
  EXPECT_EQ(lacuna_run({"inspect", (folder / "junk.safetensors").string()}).code, 3);
}

}  // namespace
}  // namespace lacuna
