#pragma once
// Runs of seconds on built-in data, for tests of the whole program.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "support/process.h"

namespace lacuna::testing {

inline Words joined(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// What both methods share. Two epochs of four steps, so that a resume also meets the end of an epoch.
inline Words tiny_data() {
  return {"data=shapes",
          "data.size=32",
          "data.side=48",
          "data.label=color",
          "data.workers=1",
          "batch_size=8",
          "threads=1",
          "precision=f32",
          "duration=8 steps",
          "log.every=1",
          "eval.every=0",
          "eval.k=3",
          "eval.max_samples=8",
          "log.health_every=100",
          "log.pictures=0",
          "checkpoint.every=2 steps",
          "lr=1e-3",
          "warmup=2 steps"};
}

inline Words tiny_clip() {
  return joined({"pretrain", "method=clip", "model=micro", "image_size=48", "patch_size=8"}, tiny_data());
}

// A CLIP folder made once per test program.
inline std::filesystem::path tiny_teacher() {
  static const TemporaryFolder folder;
  static const std::filesystem::path made = [] {
    const std::filesystem::path out = folder / "teacher";
    Words arguments = joined(tiny_clip(), {"out=" + out.string(), "seed=7"});
    std::replace(arguments.begin(), arguments.end(), std::string("duration=8 steps"), std::string("duration=3 steps"));
    const Ended ended = lacuna_run(arguments);
    if (ended.code != 0) throw std::runtime_error("the teacher could not be made: " + ended.err);
    return out / "export";
  }();
  return made;
}

inline Words tiny_cae() {
  return joined({"pretrain", "method=cae_v2", "model=micro", "teacher=" + tiny_teacher().string()}, tiny_data());
}

inline nlohmann::json state_of(const std::filesystem::path& run, int step) {
  return nlohmann::json::parse(content_of(run / "checkpoints" / ("step-" + std::to_string(step)) / "state.json"));
}

inline std::string hash_at(const std::filesystem::path& run, int step = 8) {
  if (!std::filesystem::exists(run / "checkpoints" / ("step-" + std::to_string(step)))) return "no such checkpoint";
  return state_of(run, step).at("tensors").at("hash").get<std::string>();
}

// Runs to the end and returns the hash of the final state.
inline std::string hash_of_run(const Words& arguments, const std::filesystem::path& out) {
  const Ended ended = lacuna_run(joined(arguments, {"out=" + out.string()}));
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  return hash_at(out);
}

}  // namespace lacuna::testing
