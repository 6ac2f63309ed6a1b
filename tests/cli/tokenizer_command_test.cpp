// lacuna tokenizer, as a user runs it.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/answer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

class TokenizerCommand : public ::testing::Test {
 protected:
  std::string captions(const std::string& content) const {
    std::ofstream(folder_ / "captions.txt") << content;
    return (folder_ / "captions.txt").string();
  }
  std::string out(const std::string& name = "tokenizer") const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
};

TEST_F(TokenizerCommand, TrainsOnOneCaptionALineThenShowsAndEncodes) {
  const std::string file = captions("the cat sat\n\nthe cat\nthe mat\n");
  const std::string said = answer({"tokenizer", "train", file, "vocabulary=518", "out=" + out()});
  EXPECT_SAYS(said, "518 tokens, 4 merges; start 516, end 517, padding 0; cleaning openai");
  EXPECT_SAYS(said, "3 captions");
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"})
    EXPECT_TRUE(fs::exists(folder_ / "tokenizer" / name)) << name;

  const std::string shown = answer({"tokenizer", "show", out()});
  EXPECT_SAYS(shown, "518 tokens");
  EXPECT_SAYS(shown, "longest merges: [the]");
  const std::string encoded = answer({"tokenizer", "encode", out(), "The, x=y"});
  EXPECT_SAYS(encoded, "[<|startoftext|>] [the ] [, ] [x ] [= ] [y ] [<|endoftext|>]");
  EXPECT_SAYS(encoded, "516 ");
}

TEST_F(TokenizerCommand, KeepsTheCleaningItWasTrainedWith) {
  const std::string file = captions("the cat\n");
  answer({"tokenizer", "train", file, "cleaning=hugging_face", "out=" + out()});
  EXPECT_SAYS(answer({"tokenizer", "show", out()}), "cleaning hugging_face");
  EXPECT_SAYS(answer({"tokenizer", "show", out(), "cleaning=open_clip"}), "cleaning open_clip");
  EXPECT_SAYS(answer({"tokenizer", "encode", out(), "&lt;"}), "[& ] ");
  EXPECT_SAYS(answer({"tokenizer", "encode", out(), "cleaning=openai", "&lt;"}), "[< ] ");
}

TEST_F(TokenizerCommand, TrainsOnWhatDataAccepts) {
  EXPECT_SAYS(answer({"tokenizer", "train", "shapes", "data.size=50", "draws=2", "out=" + out("shapes")}),
              "100 captions");
  for (const char* name : {"a.png", "b.png"}) std::ofstream(folder_ / name);      // never opened
  std::ofstream(folder_ / "list.txt") << "a.png\t\tthe cat\nb.png\t\tthe mat\n";  // tabs: a list of images
  EXPECT_SAYS(answer({"tokenizer", "train", out("list.txt"), "draws=1", "out=" + out("list")}), "2 captions");
}

TEST_F(TokenizerCommand, MistakesAreNamed) {
  const std::string file = captions("the cat\n");
  EXPECT_SAYS(answer({"tokenizer"}, 2), "lacuna tokenizer train DATA");
  EXPECT_SAYS(answer({"tokenizer", "learn"}, 2), "found 'learn'");
  EXPECT_SAYS(answer({"tokenizer", "train", "out=" + out()}, 2), "name the captions first");
  EXPECT_SAYS(answer({"tokenizer", "train", file}, 2), "add out=DIR");
  EXPECT_SAYS(answer({"tokenizer", "train", file, "out=" + out(), "vocabulary=12"}, 2), "vocabulary");
  EXPECT_SAYS(answer({"tokenizer", "train", file, "out=" + out(), "cleaning=none"}, 2), "open_clip");
  EXPECT_SAYS(answer({"tokenizer", "train", file, "out=" + folder_.path().string()}, 2), "not empty");
  EXPECT_SAYS(answer({"tokenizer", "train", captions("\n\n"), "out=" + out()}, 2), "has no captions");
  EXPECT_SAYS(answer({"tokenizer", "show", out()}, 2), "no such file or folder");
  fs::create_directory(out());
  EXPECT_SAYS(answer({"tokenizer", "encode", out(), "x"}, 2), "lacuna tokenizer train");
  EXPECT_SAYS(answer({"tokenizer", "--help"}), "keys of train");
}

}  // namespace
}  // namespace lacuna
