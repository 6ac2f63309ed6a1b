// A run that is stopped in any way and resumed ends with the bits of the run that was not.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "support/answer.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT
using std::chrono::milliseconds;

Words replaced(Words arguments, const std::string& value) {
  const std::string key = value.substr(0, value.find('=') + 1);
  for (std::string& argument : arguments) {
    if (argument.starts_with(key)) argument = value;
  }
  return arguments;
}

Words resume(const fs::path& out, const Words& more = {}) { return joined({"resume", out.string()}, more); }

std::set<fs::path> unfinished_saves(const fs::path& out) {
  std::set<fs::path> found;
  std::error_code gone;  // the folder of a save vanishes while it is looked at
  for (fs::directory_iterator entry(out / "checkpoints", gone), end; !gone && entry != end; entry.increment(gone)) {
    if (entry->path().filename().string().starts_with(".writing-")) found.insert(entry->path());
  }
  return found;
}

// Waits until `happened`, or until the process is gone.
bool wait_for(const Process& process, const std::function<bool()>& happened) {
  while (process.is_running()) {
    if (happened()) return true;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

bool has_checkpoint(const fs::path& out, int step) {
  return fs::exists(out / "checkpoints" / ("step-" + std::to_string(step)));
}

// Each training record once, in order; every line whole.
void expect_whole_records(const fs::path& out, int steps) {
  std::istringstream lines(content_of(out / "metrics.jsonl"));
  std::vector<int> trained;
  std::map<std::string, int> closing;
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(record.is_object()) << line;
    if (record.contains("evaluator")) {
      ++closing[record["evaluator"].get<std::string>() + record["step"].dump()];
    } else {
      trained.push_back(record["step"].get<int>());
    }
  }
  std::vector<int> wanted(static_cast<size_t>(steps));
  for (int i = 0; i < steps; ++i) wanted[static_cast<size_t>(i)] = i + 1;
  EXPECT_EQ(trained, wanted);
  EXPECT_EQ(closing, (std::map<std::string, int>{{"knn" + std::to_string(steps), 1}}));
}

struct Trials {
  int kills = 0, in_writing = 0, before_config = 0;
};

// Starts or resumes, kills after `delay`, and goes on like that until the run is done.
Trials killed_until_done(const Words& arguments, const fs::path& out, const std::vector<milliseconds>& delays) {
  Trials trials;
  for (const milliseconds delay : delays) {
    const bool begun = fs::exists(out / "config.toml");
    Process process(begun ? resume(out) : joined(arguments, {"out=" + out.string()}));
    const auto end = std::chrono::steady_clock::now() + delay;
    wait_for(process, [&] { return std::chrono::steady_clock::now() >= end; });
    process.send(SIGKILL);
    if (process.wait().signal != SIGKILL) continue;  // it was done before
    ++trials.kills;
    trials.in_writing += !unfinished_saves(out).empty();
    trials.before_config += !fs::exists(out / "config.toml");
  }
  const bool begun = fs::exists(out / "config.toml");
  const Ended last = lacuna_run(begun ? resume(out) : joined(arguments, {"out=" + out.string()}));
  EXPECT_EQ(last.code, 0) << last.out << last.err;
  return trials;
}

class Resume : public ::testing::Test {
 protected:
  fs::path whole() const { return folder_ / "whole"; }
  fs::path broken() const { return folder_ / "broken"; }

  // Kills once `step` is saved and returns without a resume.
  void start_and_kill_after(const Words& arguments, int step) const {
    Process process(joined(arguments, {"out=" + broken().string()}));
    ASSERT_TRUE(wait_for(process, [&] { return has_checkpoint(broken(), step); })) << process.wait().err;
    process.send(SIGKILL);
    process.wait();
  }

  TemporaryFolder folder_;
};

// Delays that grow from the start of the process over its steps; with a save at every step many land inside one.
TEST_F(Resume, IsBitExactWhereverCaeV2IsKilled) {
  const Words arguments =
      replaced(replaced(replaced(tiny_cae(), "duration=40 steps"), "checkpoint.every=1 steps"), "data.workers=2");
  const Ended unbroken = lacuna_run(joined(arguments, {"out=" + whole().string()}));
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;
  std::vector<milliseconds> delays;
  for (int i = 0; i < 12; ++i) delays.push_back(milliseconds(20 + 67 * i));
  const Trials trials = killed_until_done(arguments, broken(), delays);
  EXPECT_GE(trials.kills, 6);
  std::cout << "killed " << trials.kills << " times: " << trials.before_config << " before the run was written down, "
            << trials.in_writing << " inside the writing of a checkpoint\n";
  EXPECT_EQ(hash_at(broken(), 40), hash_at(whole(), 40));
  EXPECT_TRUE(unfinished_saves(broken()).empty());
  expect_whole_records(broken(), 40);
  expect_whole_records(whole(), 40);
}

// Sees the folder of a new unfinished save appear and kills at once.
TEST_F(Resume, IsBitExactWhenKilledInsideTheWritingOfACheckpoint) {
  constexpr int kKills = 6;
  const Words arguments = replaced(replaced(tiny_cae(), "duration=40 steps"), "checkpoint.every=1 steps");
  ASSERT_EQ(lacuna_run(joined(arguments, {"out=" + whole().string()})).code, 0);
  int hits = 0;
  for (int i = 0; i < kKills; ++i) {
    Process process(i > 0 ? resume(broken()) : joined(arguments, {"out=" + broken().string()}));
    const std::set<fs::path> left = unfinished_saves(broken());
    const bool running = wait_for(process, [&] {
      const std::set<fs::path> now = unfinished_saves(broken());
      return std::any_of(now.begin(), now.end(), [&](const fs::path& path) { return !left.contains(path); });
    });
    ASSERT_TRUE(running) << process.wait().err;
    process.send(SIGKILL);
    process.wait();
    hits += !unfinished_saves(broken()).empty();
  }
  EXPECT_GE(hits, 1);
  std::cout << hits << " of " << kKills << " kills left an unfinished checkpoint behind\n";
  ASSERT_EQ(lacuna_run(resume(broken())).code, 0);
  EXPECT_EQ(hash_at(broken(), 40), hash_at(whole(), 40));
  EXPECT_TRUE(unfinished_saves(broken()).empty());
}

TEST_F(Resume, IgnoresAndClearsAnUnfinishedCheckpoint) {
  const std::string wanted = hash_of_run(tiny_cae(), whole());
  start_and_kill_after(tiny_cae(), 2);
  const fs::path unfinished = broken() / "checkpoints" / ".writing-5";
  fs::create_directories(unfinished);
  std::ofstream(unfinished / "state.safetensors") << "half of it";
  const Ended ended = lacuna_run(resume(broken()));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(hash_at(broken()), wanted);
  EXPECT_FALSE(fs::exists(unfinished));
}

TEST_F(Resume, IsBitExactForClip) {
  const std::string wanted = hash_of_run(tiny_clip(), whole());
  const Trials trials =
      killed_until_done(tiny_clip(), broken(), {milliseconds(60), milliseconds(250), milliseconds(420)});
  EXPECT_GE(trials.kills, 1);
  EXPECT_EQ(hash_at(broken()), wanted);
  expect_whole_records(broken(), 8);
}

TEST_F(Resume, BeforeTheFirstCheckpointBeginsAnew) {
  const Words arguments = replaced(tiny_cae(), "checkpoint.every=100 %");
  const std::string wanted = hash_of_run(arguments, whole());
  Process process(joined(arguments, {"out=" + broken().string()}));
  ASSERT_TRUE(wait_for(process, [&] { return contains(content_of(broken() / "metrics.jsonl"), "\n"); }));
  process.send(SIGKILL);
  process.wait();
  ASSERT_FALSE(has_checkpoint(broken(), 8));
  const Ended ended = lacuna_run(resume(broken()));
  EXPECT_TRUE(contains(ended.out, "no checkpoint yet: begins at step 0")) << ended.out;
  EXPECT_EQ(hash_at(broken()), wanted);
  expect_whole_records(broken(), 8);
}

TEST_F(Resume, IsBitExactWithAccumulation) {
  const Words arguments = joined(tiny_cae(), {"train.accumulate=2"});
  const std::string wanted = hash_of_run(arguments, whole());
  start_and_kill_after(arguments, 2);
  EXPECT_EQ(lacuna_run(resume(broken())).code, 0);
  EXPECT_EQ(hash_at(broken()), wanted);
}

TEST_F(Resume, TheHashTellsOneSeedFromAnother) {
  const std::string zero = hash_of_run(joined(tiny_cae(), {"seed=0"}), whole());
  EXPECT_NE(hash_of_run(joined(tiny_cae(), {"seed=1"}), broken()), zero);
}

TEST_F(Resume, OfAFinishedRunChangesNothing) {
  const std::string before = hash_of_run(tiny_cae(), whole());
  for (int i = 0; i < 2; ++i) {
    const Ended again = lacuna_run(resume(whole()));
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_TRUE(contains(again.out, "goes on after step 8")) << again.out;
  }
  EXPECT_EQ(hash_at(whole()), before);
  expect_whole_records(whole(), 8);
}

TEST_F(Resume, AnyNumberOfLoaderThreadsGivesTheSameBits) {
  const std::string one = hash_of_run(tiny_cae(), folder_ / "1");
  for (const std::string workers : {"2", "8"})
    EXPECT_EQ(hash_of_run(replaced(tiny_cae(), "data.workers=" + workers), folder_ / workers), one) << workers;
}

TEST_F(Resume, TheSavedConfigurationRunsTheSameExperiment) {
  for (const auto& [name, arguments] : {std::pair{"cae", tiny_cae()}, std::pair{"clip", tiny_clip()}}) {
    const fs::path first = folder_ / name;
    const std::string wanted = hash_of_run(arguments, first);
    EXPECT_EQ(hash_of_run({"pretrain", (first / "config.toml").string()}, folder_ / (name + std::string("-again"))),
              wanted)
        << name;
  }
}

TEST_F(Resume, SignalsStopWithCodeFourAndLoseNothing) {
  const Words arguments = replaced(tiny_cae(), "duration=30 steps");
  ASSERT_EQ(lacuna_run(joined(arguments, {"out=" + whole().string()})).code, 0);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    const fs::path out = folder_ / std::to_string(signal);
    Process process(joined(arguments, {"out=" + out.string()}));
    ASSERT_TRUE(wait_for(process, [&] { return has_checkpoint(out, 2); }));
    process.send(signal);
    const Ended stopped = process.wait();
    EXPECT_EQ(stopped.code, 4) << stopped.out << stopped.err;
    EXPECT_TRUE(contains(stopped.out, "lacuna resume " + out.string())) << stopped.out;
    EXPECT_FALSE(has_checkpoint(out, 30));
    EXPECT_EQ(lacuna_run(resume(out)).code, 0);
    EXPECT_EQ(hash_at(out, 30), hash_at(whole(), 30));
    expect_whole_records(out, 30);
  }
}

TEST_F(Resume, ASignalBeforeTheFirstStepStopsToo) {
  const std::string wanted = hash_of_run(tiny_cae(), whole());
  Process process(joined(tiny_cae(), {"out=" + broken().string()}));
  ASSERT_TRUE(wait_for(process, [&] { return fs::exists(broken() / "config.toml"); }));
  process.send(SIGTERM);
  EXPECT_EQ(process.wait().code, 4);
  EXPECT_EQ(lacuna_run(resume(broken())).code, 0);
  EXPECT_EQ(hash_at(broken()), wanted);
}

TEST_F(Resume, ASecondInterruptLeavesAtOnce) {
  const Words arguments = replaced(replaced(tiny_cae(), "data.size=256"), "batch_size=256");
  Process process(joined(arguments, {"out=" + broken().string()}));
  ASSERT_TRUE(wait_for(process, [&] { return has_checkpoint(broken(), 2); }));
  std::this_thread::sleep_for(milliseconds(50));  // into the next step, which lasts far longer
  // Signals that meet before the process runs again become one, hence more than two.
  wait_for(process, [&] {
    process.send(SIGINT);
    return false;
  });
  const Ended ended = process.wait();
  EXPECT_EQ(ended.code, 4);
  EXPECT_FALSE(contains(ended.out, "the state is saved")) << ended.out;
}

void flip_a_byte(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-5, std::ios::end);
  const int byte = file.get();
  file.seekp(-5, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
}

TEST_F(Resume, FallsBackToTheCheckpointBeforeADamagedOne) {
  const std::string wanted = hash_of_run(tiny_cae(), whole());
  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> damages = {
      {"flipped", [](const fs::path& at) { flip_a_byte(at / "state.safetensors"); }},
      {"truncated", [](const fs::path& at) { fs::resize_file(at / "state.safetensors", 1000); }},
      {"empty", [](const fs::path& at) { fs::resize_file(at / "state.safetensors", 0); }},
      {"no weights", [](const fs::path& at) { fs::remove(at / "state.safetensors"); }},
      {"no state", [](const fs::path& at) { fs::remove(at / "state.json"); }},
      {"garbage", [](const fs::path& at) { std::ofstream(at / "state.json") << "{\"step\": ]"; }},
      {"other json", [](const fs::path& at) { std::ofstream(at / "state.json") << "[1]"; }},
      {"other step", [](const fs::path& at) {
         auto state = nlohmann::json::parse(content_of(at / "state.json"));
         state["step"] = 3;
         std::ofstream(at / "state.json") << state;
       }}};
  for (const auto& [name, damage] : damages) {
    const fs::path out = folder_ / name;
    fs::copy(whole(), out, fs::copy_options::recursive);
    damage(out / "checkpoints" / "step-8");
    const Ended ended = lacuna_run(resume(out));
    EXPECT_EQ(ended.code, 0) << name << ended.err;
    EXPECT_TRUE(contains(ended.out, "checkpoint step-8 is damaged and passed over")) << name << ended.out;
    EXPECT_TRUE(contains(ended.out, "goes on after step 6")) << name << ended.out;
    EXPECT_EQ(hash_at(out), wanted) << name;
    expect_whole_records(out, 8);
  }
}

TEST_F(Resume, StopsWithCodeThreeWhenAllCheckpointsAreDamaged) {
  hash_of_run(tiny_cae(), whole());
  for (const int step : {6, 8})
    flip_a_byte(whole() / "checkpoints" / ("step-" + std::to_string(step)) / "state.safetensors");
  const Ended ended = lacuna_run(resume(whole()));
  EXPECT_EQ(ended.code, 3) << ended.out;
  EXPECT_TRUE(contains(ended.err, "all 2 checkpoints are damaged")) << ended.err;
}

TEST_F(Resume, RefusesChangesOfMeaningAndTakesOthers) {
  const std::string wanted = hash_of_run(tiny_cae(), whole());
  start_and_kill_after(tiny_cae(), 2);
  const Ended refused = lacuna_run(resume(broken(), {"mask.ratio=0.5", "lr=2e-3", "eval.k=2"}));
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.err, "mask.ratio: 0.25 -> 0.5")) << refused.err;
  EXPECT_TRUE(contains(refused.err, "train.lr: 0.001 -> 0.002")) << refused.err;
  EXPECT_FALSE(contains(refused.err, "eval.k")) << refused.err;
  const Ended taken = lacuna_run(
      resume(broken(), {"eval.every=4 steps", "checkpoint.every=3 steps", "data.workers=2", "log.health_every=1"}));
  EXPECT_EQ(taken.code, 0) << taken.err;
  EXPECT_EQ(hash_at(broken()), wanted);
}

TEST_F(Resume, FollowsAFolderThatWasMoved) {
  const std::string wanted = hash_of_run(tiny_cae(), whole());
  start_and_kill_after(tiny_cae(), 2);
  fs::rename(broken(), folder_ / "moved");
  EXPECT_EQ(lacuna_run(resume(folder_ / "moved")).code, 0);
  EXPECT_EQ(hash_at(folder_ / "moved"), wanted);
  EXPECT_FALSE(fs::exists(broken()));
}

TEST_F(Resume, OfNoRunSaysSo) {
  const Ended ended = lacuna_run(resume(folder_.path()));
  EXPECT_EQ(ended.code, 2);
  EXPECT_TRUE(contains(ended.err, "not a run")) << ended.err;
}

}  // namespace
}  // namespace lacuna
