#pragma once
// Snapshots of a run: OUT/checkpoints/step-N/ with state.safetensors (named tensors) and state.json, and a file `last`
// with the name of the newest.
//
// A snapshot is written under a temporary name, made durable and renamed, so that a reader finds it whole or not at
// all, whenever the process or the machine dies. Loading verifies length and hash and takes the one before if it must.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/weights/weights.h"

namespace lacuna {

struct KeepPolicy {
  int64_t last = 2;   // the newest k are kept
  int64_t every = 0;  // besides, every one whose step is a multiple of this; 0 keeps no others
};

class Snapshot {  // one that was verified
 public:
  Snapshot(std::filesystem::path folder, nlohmann::json state, TensorFile file);
  ~Snapshot();
  Snapshot(Snapshot&&) noexcept;

  int64_t step() const;
  const nlohmann::json& state() const { return *state_; }
  const std::filesystem::path& folder() const { return folder_; }
  // The tensors whose name starts with `prefix`, without it.
  NamedTensors tensors(const std::string& prefix) const;

 private:
  std::filesystem::path folder_;
  std::unique_ptr<nlohmann::json> state_;
  TensorFile file_;
};

class Checkpoints {
 public:
  Checkpoints(std::filesystem::path folder, KeepPolicy keep);

  // Returns the hash of the tensors. `state` gets "step" and "tensors" {hash, count} added.
  std::string save(int64_t step, const NamedTensors& tensors, nlohmann::json state) const;

  // The newest snapshot that is whole, or none if there is none at all. `notes` receives a sentence for every damaged
  // one that was passed over. Throws Error(kBadData) when there are snapshots and all are damaged.
  std::optional<Snapshot> newest(std::vector<std::string>* notes = nullptr) const;

  std::vector<int64_t> steps() const;  // of the snapshots on disk, ascending

 private:
  Snapshot open(int64_t step) const;
  void remove_unfinished() const;
  void prune(int64_t newest_step) const;

  std::filesystem::path folder_;
  KeepPolicy keep_;
};

}  // namespace lacuna
