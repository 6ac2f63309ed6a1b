#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Steps = std::vector<int64_t>;

class CheckpointsTest : public ::testing::Test {
 protected:
  // Saves of a value that grows by one with every step.
  void save(const Checkpoints& checkpoints, const Steps& steps) const {
    for (const int64_t step : steps)
      checkpoints.save(step, {{"model.w", at::full({3}, static_cast<double>(step))}, {"extra.n", at::ones({1})}},
                       {{"note", "kept"}});
  }
  void flip_a_byte(int64_t step) const {
    const fs::path path = root() / text("step-", step) / "state.safetensors";
    std::string bytes = read_file(path, 1 << 20);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  fs::path root() const { return folder_ / "checkpoints"; }

  testing::TemporaryFolder folder_;
};

TEST_F(CheckpointsTest, GiveBackWhatWasSaved) {
  const Checkpoints checkpoints(root(), {});
  EXPECT_FALSE(checkpoints.newest().has_value());
  save(checkpoints, {7});
  const auto snapshot = checkpoints.newest();
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ(snapshot->step(), 7);
  EXPECT_EQ(snapshot->state().at("note"), "kept");
  EXPECT_EQ(snapshot->state().at("tensors").at("count"), 2);
  const NamedTensors model = snapshot->tensors("model.");
  ASSERT_EQ(model.size(), 1u);
  EXPECT_EQ(model[0].first, "w");
  EXPECT_TRUE(at::equal(model[0].second, at::full({3}, 7.0)));
}

TEST_F(CheckpointsTest, TheHashIsThatOfTheTensorsAndOfTheFile) {
  const Checkpoints checkpoints(root(), {.last = 9});
  const std::string one = checkpoints.save(1, {{"w", at::ones({2})}}, nlohmann::json::object());
  EXPECT_EQ(checkpoints.save(2, {{"w", at::ones({2})}}, {{"other", 1}}), one);
  EXPECT_NE(checkpoints.save(3, {{"w", at::zeros({2})}}, nlohmann::json::object()), one);
  EXPECT_EQ(hash_file(root() / "step-1/state.safetensors"), one);
}

TEST_F(CheckpointsTest, KeepTheNewestAndTheMultiples) {
  const Checkpoints checkpoints(root(), {.last = 2, .every = 30});
  save(checkpoints, {10, 20, 30, 40, 50, 60, 70, 80});
  EXPECT_EQ(checkpoints.steps(), (Steps{30, 60, 70, 80}));
  EXPECT_EQ(read_file(root() / "last", 100), "step-80");
}

TEST_F(CheckpointsTest, KeepAtLeastOne) {
  const Checkpoints checkpoints(root(), {.last = 0});
  save(checkpoints, {1, 2});
  EXPECT_EQ(checkpoints.steps(), Steps{2});
}

TEST_F(CheckpointsTest, OrderStepsAsNumbers) {
  const Checkpoints checkpoints(root(), {.last = 9});
  save(checkpoints, {9, 10, 100});
  EXPECT_EQ(checkpoints.steps(), (Steps{9, 10, 100}));
  EXPECT_EQ(checkpoints.newest()->step(), 100);
}

TEST_F(CheckpointsTest, LeaveNothingUnfinishedAndIgnoreWhatIsNotTheirs) {
  const Checkpoints checkpoints(root(), {});
  for (const std::string name : {".writing-3", ".writing-99", "step-x", "step-", "notes"})
    fs::create_directories(root() / name);
  EXPECT_TRUE(checkpoints.steps().empty());
  EXPECT_FALSE(checkpoints.newest().has_value());
  save(checkpoints, {4});
  EXPECT_FALSE(fs::exists(root() / ".writing-3"));
  EXPECT_FALSE(fs::exists(root() / ".writing-99"));
  EXPECT_TRUE(fs::exists(root() / "notes"));
  EXPECT_EQ(checkpoints.steps(), Steps{4});
}

TEST_F(CheckpointsTest, SavingAStepAgainReplacesIt) {
  const Checkpoints checkpoints(root(), {});
  save(checkpoints, {4});
  flip_a_byte(4);
  EXPECT_THROW(checkpoints.newest(), Error);
  save(checkpoints, {4});
  EXPECT_EQ(checkpoints.newest()->step(), 4);
}

TEST_F(CheckpointsTest, PassOverDamagedOnesAndSaySo) {
  const Checkpoints checkpoints(root(), {.last = 9});
  save(checkpoints, {1, 2, 3});
  flip_a_byte(3);
  fs::remove(root() / "step-2/state.json");
  std::vector<std::string> notes;
  EXPECT_EQ(checkpoints.newest(&notes)->step(), 1);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].find("step-3 is damaged and passed over"), std::string::npos) << notes[0];
  EXPECT_NE(notes[0].find("hash"), std::string::npos) << notes[0];
  EXPECT_NE(notes[1].find("step-2"), std::string::npos) << notes[1];
}

TEST_F(CheckpointsTest, AllDamagedIsBadData) {
  const Checkpoints checkpoints(root(), {});
  save(checkpoints, {1, 2});
  flip_a_byte(1);
  flip_a_byte(2);
  try {
    checkpoints.newest();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
  }
}

TEST_F(CheckpointsTest, ADamagedOneDoesNotCountAgainstTheNewerOnes) {
  const Checkpoints checkpoints(root(), {.last = 2});
  save(checkpoints, {2, 4, 6});
  flip_a_byte(6);
  EXPECT_EQ(checkpoints.newest()->step(), 4);
  save(checkpoints, {5});  // a resume from step 4 that saves more often
  EXPECT_EQ(checkpoints.newest()->step(), 5);
  EXPECT_EQ(checkpoints.steps(), (Steps{4, 5, 6}));
}

}  // namespace
}  // namespace lacuna
