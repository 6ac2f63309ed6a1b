// The commands beside pretrain and resume, on a finished tiny run.

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "cli/run_config.h"
#include "support/answer.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

TEST(Config, ExplainsAKeyATableAndEverything) {
  const std::string one = answer({"config", "mask.ratio"});
  EXPECT_SAYS(one, "mask.ratio");
  EXPECT_SAYS(one, "default");
  const std::string table = answer({"config", "mask", "model=tiny"});
  EXPECT_SAYS(table, "mask.kind");
  EXPECT_FALSE(contains(table, "train.duration"));
  const std::string all = answer({"config"});
  for (const std::string key : {"mask.ratio", "train.duration", "checkpoint.every", "objective.N.weight", "data.path"})
    EXPECT_SAYS(all, key);
}

TEST(Methods, AreListedExplainedAndTabled) {
  const std::string list = answer({"methods"});
  EXPECT_SAYS(list, "cae_v2");
  EXPECT_SAYS(list, "clip");
  EXPECT_SAYS(answer({"methods", "--markdown"}), "| `cae_v2` |");
  EXPECT_SAYS(answer({"methods", "cae_v2"}), "[mask]");
}

TEST(Plan, SaysWhatWouldHappenAndWritesNothing) {
  const TemporaryFolder folder;
  Words arguments = joined(tiny_cae(), {"out=" + (folder / "run").string()});
  arguments[0] = "plan";
  const std::string said = answer(arguments);
  for (const std::string part : {"img/s", "whole run", "checkpoints", "9 of 36 patches hidden", "8 steps"})
    EXPECT_SAYS(said, part);
  EXPECT_TRUE(fs::is_empty(folder.path()));
  const std::string mark = "runs it as a recipe):\n\n";
  ASSERT_TRUE(contains(said, mark));
  std::ofstream(folder / "recipe.toml") << said.substr(said.find(mark) + mark.size());
  const fs::path direct = folder / "direct", planned = folder / "planned";
  EXPECT_EQ(hash_of_run({"pretrain", (folder / "recipe.toml").string()}, planned), hash_of_run(tiny_cae(), direct));
}

TEST(Plan, ForCaptionsWritesNothingEither) {
  const TemporaryFolder folder;
  Words arguments = joined(tiny_clip(), {"out=" + (folder / "run").string()});
  arguments[0] = "plan";
  EXPECT_SAYS(answer(arguments), "whole run");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SavedConfiguration, TakesAnotherTeacher) {
  const TemporaryFolder folder;
  hash_of_run(tiny_cae(), folder / "run");
  const Ended ended = lacuna_run({"pretrain", (folder / "run/config.toml").string(), "teacher=/no/such/teacher",
                                  "out=" + (folder / "other").string()});
  EXPECT_EQ(ended.code, 2) << "the teacher of the saved configuration was taken instead";
  EXPECT_SAYS(ended.err, "/no/such/teacher");
}

// Made once per test program.
fs::path finished_run() {
  static const TemporaryFolder folder;
  static const bool made = lacuna_run(joined(tiny_cae(), {"out=" + (folder / "run").string()})).code == 0;
  if (!made) throw std::runtime_error("the run that the tests look at could not be made");
  return folder / "run";
}

TEST(OfARun, EvalMeasuresExportRunCheckpointAndTeacherAlike) {
  const Words data = {"data=shapes", "data.size=60",    "data.side=48",    "data.label=color",
                      "knn.k=5",     "linear.epochs=2", "linear.warmup=1", "threads=1"};
  std::set<std::string> first_lines;
  for (const fs::path& model : {finished_run(), finished_run() / "export", finished_run() / "checkpoints/step-8"}) {
    const std::string said = answer(joined({"eval", "knn", model.string()}, data));
    EXPECT_TRUE(said.starts_with("* Acc@1 ")) << said;
    first_lines.insert(said.substr(0, said.find("  (")));
  }
  EXPECT_EQ(first_lines.size(), 1u) << "run, export and checkpoint hold the same weights";
  EXPECT_SAYS(answer(joined({"eval", "knn", tiny_teacher().string()}, data)), "* Acc@1 ");
  const TemporaryFolder folder;
  const fs::path json = folder / "linear.json";
  const std::string linear =
      answer(joined({"eval", "linear", (finished_run() / "export").string(), "json=" + json.string()}, data));
  EXPECT_SAYS(linear, "* Acc@1 ");
  EXPECT_TRUE(nlohmann::json::parse(content_of(json)).contains("top1"));
  EXPECT_SAYS(answer({"eval", "knn", finished_run().string()}, 2), "data=DIR");
  EXPECT_SAYS(answer({"eval", "vote", finished_run().string()}, 2), "expected 'knn' or 'linear'");
}

// Losses of a tiny run: the same every time, and falling.
TEST(Training, RepeatsItsLossesAndLowersThem) {
  const TemporaryFolder folder;
  std::vector<std::string> records;
  std::vector<double> losses;
  for (const std::string name : {"a", "b"}) {
    Words arguments = tiny_cae();
    std::replace(arguments.begin(), arguments.end(), std::string("duration=8 steps"), std::string("duration=40 steps"));
    std::replace(arguments.begin(), arguments.end(), std::string("lr=1e-3"), std::string("lr=3e-3"));
    hash_of_run(arguments, folder / name);
    records.push_back(content_of(folder / name / "metrics.jsonl"));
  }
  EXPECT_EQ(records[0], records[1]);
  std::istringstream lines(records[0]);
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("loss")) losses.push_back(record["loss"]);
  }
  ASSERT_EQ(losses.size(), 40u);
  EXPECT_LT(losses[9], losses[0]);
  EXPECT_LT(losses[39], 0.8 * losses[0]);
}

TEST(Recipes, AllAreAcceptedAsTheyStand) {
  const fs::path folder = fs::path(LACUNA_SOURCE_DIR) / "recipes";
  int found = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    ++found;
    const Words arguments = {entry.path().string(), "data=/images", "teacher=/teacher", "out=/run"};
    try {
      const RunConfig config = parse_run(arguments);
      EXPECT_EQ(config.data.path, "/images") << entry.path();
      EXPECT_EQ(config.teacher, "/teacher") << entry.path();
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
  EXPECT_GT(found, 0) << "no recipes in " << folder;
}

}  // namespace
}  // namespace lacuna
