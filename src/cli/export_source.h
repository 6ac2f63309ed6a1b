#pragma once
// What `lacuna export` takes out of a model: of a run or a checkpoint the student, its text tower, a momentum teacher
// or all of it; of anything else what opens as a frozen network.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/run_config.h"
#include "nn/weights/portable_clip.h"

namespace lacuna {

// A checkpoint and the run it is of.
struct TrainedState {
  std::filesystem::path folder;
  nlohmann::json json;  // state.json
  RunConfig config;
};

// The checkpoint that a path means: itself, the one that a `last` file names, or the newest of a run. Empty for another
// path and for a run that keeps no checkpoint.
std::filesystem::path checkpoint_folder(const std::filesystem::path& path);
std::optional<TrainedState> find_state(const std::filesystem::path& path);

// The run's own tokenizer, the one beside an exported state, or the one that the run was given.
std::filesystem::path tokenizer_of(const TrainedState& state);

// Both towers of a student that learns from captions; nothing for one without.
std::optional<PortableClip> student_clip(const TrainedState& state);

// The momentum teacher of an objective, whose name may be left empty where there is one. Throws Error that says which
// folder a frozen teacher is.
PortableVit momentum_teacher(const TrainedState& state, const std::string& objective);

// The whole state as a folder that `init=` starts from: state.safetensors and state.json, where paths keep their last
// component only.
void write_state(const std::filesystem::path& folder, const TrainedState& state, bool with_optimizer);

// The last component of an absolute path, another text as it is; and a configuration with all its paths so: what is
// given away does not tell how the disk is laid out.
std::string without_folders(const std::string& value);
RunConfig without_folders(RunConfig config);

}  // namespace lacuna
