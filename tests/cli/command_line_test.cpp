#include "cli/command_line.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lacuna {
namespace {

using Words = std::vector<std::string>;

CommandLine split_words(const Words& arguments) { return split(arguments, {"stats"}); }

TEST(CommandLine, TellsWordsFromSettings) {
  const CommandLine line = split_words({"RUN", "--to", "hf", "out=a=b", "--part=all", "--stats", "OUT"});
  EXPECT_EQ(line.words, (Words{"RUN", "OUT"}));
  EXPECT_EQ(line.settings, (Words{"to=hf", "out=a=b", "part=all", "stats=true"}));
}

TEST(CommandLine, AFlagMayBeGivenItsValue) {
  const CommandLine line = split_words({"--stats", "false", "RUN", "--stats", "--to", "hf"});
  EXPECT_EQ(line.words, (Words{"RUN"}));
  EXPECT_EQ(line.settings, (Words{"stats=false", "stats=true", "to=hf"}));
}

TEST(CommandLine, APathWithAnEqualsSignIsAWord) {
  const CommandLine line = split_words({"/data/a=b.jpg", "./a=b", "--", "a=b", "--stats"});
  EXPECT_EQ(line.words, (Words{"/data/a=b.jpg", "./a=b", "a=b", "--stats"}));
  EXPECT_TRUE(line.settings.empty());
}

TEST(CommandLine, AnOptionNeedsItsValue) {
  EXPECT_THROW(split_words({"RUN", "--to"}), Error);
  EXPECT_NO_THROW(split_words({"RUN", "--stats"}));
}

}  // namespace
}  // namespace lacuna
