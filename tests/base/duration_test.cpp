#include "base/duration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/suggest.h"

namespace lacuna {
namespace {

using Unit = Duration::Unit;

TEST(Duration, ReadsWhatPeopleWrite) {
  EXPECT_EQ(Duration::parse("300 epochs"), (Duration{300, Unit::kEpochs}));
  EXPECT_EQ(Duration::parse("300 ep"), (Duration{300, Unit::kEpochs}));
  EXPECT_EQ(Duration::parse("300ep"), (Duration{300, Unit::kEpochs}));
  EXPECT_EQ(Duration::parse(" 1 epoch "), (Duration{1, Unit::kEpochs}));
  EXPECT_EQ(Duration::parse("10000 steps"), (Duration{10000, Unit::kSteps}));
  EXPECT_EQ(Duration::parse("10k steps"), (Duration{10000, Unit::kSteps}));
  EXPECT_EQ(Duration::parse("5 %"), (Duration{5, Unit::kPercent}));
  EXPECT_EQ(Duration::parse("5%"), (Duration{5, Unit::kPercent}));
  EXPECT_EQ(Duration::parse("1.5 M samples"), (Duration{1500000, Unit::kSamples}));
  EXPECT_EQ(Duration::parse("1.1M samples"), (Duration{1100000, Unit::kSamples}));
}

TEST(Duration, ABareNumberNeedsAUnitFromItsField) {
  EXPECT_EQ(Duration::parse("300"), std::nullopt);
  EXPECT_EQ(Duration::parse("300", Unit::kEpochs), (Duration{300, Unit::kEpochs}));
  EXPECT_EQ(Duration::parse("10k", Unit::kSteps), (Duration{10000, Unit::kSteps}));
  EXPECT_EQ(Duration::parse("5 %", Unit::kSteps), (Duration{5, Unit::kPercent}));
}

TEST(Duration, RefusesWhatIsNone) {
  for (const char* text : {"", "epochs", "-1 epochs", "nan epochs", "inf steps", "1e16 steps", "0.5 steps",
                           "1.5 samples", "3 weeks", "3 epochs 4", "1 kk steps", "% 5", "k steps", "1e400 epochs"}) {
    EXPECT_EQ(Duration::parse(text), std::nullopt) << text;
  }
}

TEST(Duration, TextComesBackAsTheSameDuration) {
  Rng rng(1, Purpose::kTest);
  for (int i = 0; i < 2000; ++i) {
    const auto unit = static_cast<Unit>(rng.integer(0, 3));
    const bool whole = unit == Unit::kSteps || unit == Unit::kSamples;
    const double amount = whole ? static_cast<double>(rng.integer(0, 1000000000000)) : rng.uniform(0, 1000);
    const Duration duration{amount, unit};
    EXPECT_EQ(Duration::parse(duration.str()), duration) << duration.str();
  }
  EXPECT_EQ((Duration{1, Unit::kEpochs}).str(), "1 epoch");
  EXPECT_EQ((Duration{10000, Unit::kSteps}).str(), "10000 steps");
  EXPECT_EQ((Duration{1, Unit::kPercent}).str(), "1 %");
}

TEST(Duration, ResolvesToSteps) {
  EXPECT_EQ((Duration{3, Unit::kEpochs}).resolve(100, 8, 0), 300);
  EXPECT_EQ((Duration{0.5, Unit::kEpochs}).resolve(101, 8, 0), 51);
  EXPECT_EQ((Duration{5, Unit::kPercent}).resolve(100, 8, 1000), 50);
  EXPECT_EQ((Duration{17, Unit::kSamples}).resolve(100, 8, 0), 3);
  EXPECT_EQ((Duration{7, Unit::kSteps}).resolve(100, 8, 0), 7);
  EXPECT_EQ((Duration{0, Unit::kEpochs}).resolve(100, 8, 0), 0);
  EXPECT_EQ((Duration{0.01, Unit::kPercent}).resolve(100, 8, 10), 1) << "a positive duration lasts at least one step";
  EXPECT_THROW((Duration{5, Unit::kPercent}).resolve(100, 8, 0), Error);
  EXPECT_THROW((Duration{1e15, Unit::kEpochs}).resolve(100, 8, 0), Error);
}

TEST(Suggest, CountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("ratio", "raito"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance(std::string(100000, 'a'), std::string(100000, 'b')), 64u);
}

TEST(Suggest, IsSymmetricAndZeroOnlyForTheSame) {
  Rng rng(2, Purpose::kTest);
  const auto word = [&] {
    std::string text;
    for (auto n = rng.integer(0, 8); n > 0; --n) text += static_cast<char>('a' + rng.integer(0, 2));
    return text;
  };
  for (int i = 0; i < 2000; ++i) {
    const std::string a = word(), b = word();
    EXPECT_EQ(edit_distance(a, b), edit_distance(b, a));
    EXPECT_EQ(edit_distance(a, b) == 0, a == b);
    EXPECT_LE(edit_distance(a, b), std::max(a.size(), b.size()));
  }
}

TEST(Suggest, NamesTheNearestOrNone) {
  const std::vector<std::string> names = {"random", "block", "grid"};
  EXPECT_EQ(nearest("blok", names), "block");
  EXPECT_EQ(nearest("rnadom", names), "random");
  EXPECT_EQ(nearest("attention", names), std::nullopt);
  EXPECT_EQ(nearest("x", names), std::nullopt);
}

}  // namespace
}  // namespace lacuna
