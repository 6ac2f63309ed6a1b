// Every row of the table through the real command, small: it trains, its losses are finite, it exports, and a resume
// gives the same bytes, whatever state the method keeps besides its weights.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "methods/methods.h"
#include "support/shared.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const MethodRow& row : methods()) names.push_back(row.name);
  return names;
}

// The weights that a row's first teacher reads; nothing when it needs none.
std::string teacher_of(const std::string& row) {
  const auto objectives = recipe_of(row, "micro").composition.objectives;
  switch (objectives.at(0).teacher.kind) {
    case TeacherKind::kDvae:
      return (shared_folder() / "golden/models/dvae/h16_v64/encoder.safetensors").string();
    case TeacherKind::kVqkd:
      return (shared_folder() / "golden/models/vqkd/vqkd.safetensors").string();
    default:
      return tiny_teacher().string();
  }
}

class Rows : public ::testing::TestWithParam<std::string> {
 protected:
  Words arguments() const {
    const bool follows = recipe_of(GetParam(), "micro").composition.objectives.at(0).teacher.kind == TeacherKind::kVqkd;
    Words sides = {"image_size=48", "patch_size=8"};
    if (follows) sides.clear();
    return joined(joined({"pretrain", "method=" + GetParam(), "model=micro", "teacher=" + teacher_of(GetParam()),
                          "checkpoint.keep_last=8", "mask.min_block=2"},
                         sides),
                  tiny_data());
  }

  TemporaryFolder folder_;
};

TEST_P(Rows, TrainsExportsAndResumesToTheSameBytes) {
  const bool reads_golden = teacher_of(GetParam()).starts_with(shared_folder().string());
  if (reads_golden && !fs::exists(teacher_of(GetParam()))) GTEST_SKIP() << "no tokenizer at hand";
  const fs::path out = folder_ / "run";
  const std::string hash = hash_of_run(arguments(), out);
  ASSERT_FALSE(::testing::Test::HasFailure());
  EXPECT_TRUE(fs::exists(out / "export"));
  std::ifstream records(out / "metrics.jsonl");
  int seen = 0;
  for (std::string line; std::getline(records, line);) {
    const auto record = nlohmann::json::parse(line);
    if (!record.contains("loss")) continue;  // of an evaluation
    ++seen;
    EXPECT_TRUE(std::isfinite(record.at("loss").get<double>())) << line;
  }
  EXPECT_EQ(seen, 8);

  const Ended inspected = lacuna_run({"inspect", out.string()});  // the export opens again
  EXPECT_EQ(inspected.code, 0) << inspected.err;

  for (const int later : {6, 8}) fs::remove_all(out / "checkpoints" / ("step-" + std::to_string(later)));
  std::ofstream(out / "checkpoints" / "last") << "step-4\n";
  const Ended ended = lacuna_run({"resume", out.string()});
  ASSERT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_EQ(hash_at(out), hash);
}

INSTANTIATE_TEST_SUITE_P(All, Rows, ::testing::ValuesIn(row_names()), [](const auto& each) { return each.param; });

TEST(Table, MarkdownOfTheReadmeIsWhatTheProgramPrints) {
  const fs::path readme = fs::path(LACUNA_SOURCE_DIR) / "README.md";
  const Ended printed = lacuna_run({"methods", "--markdown"});
  EXPECT_EQ(printed.code, 0);
  EXPECT_NE(content_of(readme).find(printed.out), std::string::npos)
      << "put the output of `lacuna methods --markdown` into README.md";
}

// What cannot work is refused before anything is written, with what would fit.
TEST(Table, CellsThatDoNotFitAreRefusedAtTheStart) {
  const struct {
    Words words;
    std::string says;
  } cases[] = {
      {{"method=mae", "objective.0.loss=cross_entropy"}, "needs classes"},
      {{"method=mae", "objective.0.region=cls"}, "has none; set region=masked"},
      {{"method=mae", "objective.0.normalize=center_sharpen"}, "soft_cross_entropy needs the probabilities"},
      {{"method=mae", "completer.kind=none"}, "completer.kind=regressor or decoder"},
      {{"method=mae", "mask.ratio=0"}, "the mask hides none"},
      {{"method=mae", "mask.ratio=0.999"}, "leaves none visible"},
      {{"method=mae", "mask.kind=attention"}, "no objective's teacher can tell"},
      {{"method=mae", "objective.0.head=identity"}, "use head.kind=linear"},
      {{"method=mae", "objective.0.head=projection"}, "teacher.kind=momentum or self"},
      {{"method=mae", "image_size=8", "patch_size=16"}, "is not a multiple of the patch side 16"},
      {{"method=mae", "image_size=50"}, "is not a multiple of the patch side"},
      {{"method=cae"}, "set teacher=FILE"},
      {{"method=maskdistill"}, "set teacher=DIR"},
      {{"method=beit", "student.mode=drop", "objective.0.teacher.kind=pixels", "objective.0.loss=l2"},
       "the student completes none"},
      {{"method=simmim", "completer.kind=regressor"}, "student.mode=drop"},
      {{"method=ibot", "crops=1"}, "crops of at least 2"},
      {{"method=ibot", "student.mode=drop"}, "student.mode=paint"},
      {{"method=maskclip", "text_tower.heads=5"}, "is not divisible into 5 heads"},
  };
  for (const auto& each : cases) {
    const TemporaryFolder folder;
    Words arguments = joined({"pretrain", "model=micro", "out=" + (folder / "run").string()}, tiny_data());
    for (const std::string& word : each.words) arguments.push_back(word);
    const bool sides = std::any_of(each.words.begin(), each.words.end(),
                                   [](const std::string& w) { return w.starts_with("image_size"); });
    if (!sides) arguments = joined(arguments, {"image_size=48", "patch_size=8"});
    const Ended ended = lacuna_run(arguments);
    EXPECT_EQ(ended.code, 2) << each.words[0] << ": " << ended.err;
    EXPECT_NE(ended.err.find(each.says), std::string::npos) << each.words[0] << ": " << ended.err;
    EXPECT_FALSE(fs::exists(folder / "run")) << each.words[0];
  }
}

TEST(Table, ARowOfOnesOwnIsAFile) {
  const TemporaryFolder folder;
  const fs::path row = folder / "own.toml";
  std::ofstream(row) << "title = \"mine\"\n[preset]\nmask.kind = \"none\"\n"
                        "[[preset.objective]]\nteacher = {kind = \"pixels\"}\nnormalize = \"keep\"\n"
                        "region = \"visible\"\nloss = \"l2\"\n[size.micro]\nstudent.drop_path = 0.5\n";
  const fs::path out = folder / "run";
  const Words arguments =
      joined({"pretrain", "method=" + row.string(), "model=micro", "image_size=48", "patch_size=8"}, tiny_data());
  EXPECT_FALSE(hash_of_run(arguments, out).empty());
  EXPECT_NE(content_of(out / "config.toml").find("drop_path = 0.5"), std::string::npos);
  EXPECT_EQ(lacuna_run({"methods", row.string()}).code, 0);

  std::ofstream(row) << "title = \"mine\"\nconfidens = \"own\"\n";
  const Ended refused = lacuna_run({"methods", row.string()});
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("confidence"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace lacuna
