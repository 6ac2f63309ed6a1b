#pragma once
// The loop. It trains any Task, and knows nothing of methods.

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/tensorboard.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/health_watch.h"
#include "train/meter.h"
#include "train/task.h"

namespace lacuna {

struct ScheduledEvaluator {
  std::unique_ptr<Evaluator> evaluator;
  int64_t every = 0;  // steps; 0 runs it only at the end
  bool at_end = true;
};

struct TrainerSetup {
  std::filesystem::path out;
  Plan plan;
  AdamWConfig adamw;
  CheckpointConfig checkpoint;
  int64_t accumulate = 1;
  uint64_t seed = 0;
  at::Device device = at::kCPU;
  bool bf16 = false;
  LrScale lr_scale = {};                         // factor of the learning rate by parameter name; empty: 1
  std::function<nlohmann::json()> describe_run;  // what every checkpoint says of its run
};

enum class RunEnd { kDone, kInterrupted };

class Trainer {
 public:
  Trainer(Task& task, Loader& loader, TrainerSetup setup, std::vector<ScheduledEvaluator> evaluators,
          std::ostream& out);
  ~Trainer();

  void restore(const Snapshot& snapshot);

  // Trains to the end, or until a signal asks to stop; either way the state is saved before it returns.
  RunEnd run();

  int64_t step() const { return step_; }
  const std::string& weights_hash() const { return saved_hash_; }  // of the newest checkpoint
  const std::vector<Metric>& last_evaluation() const { return last_evaluation_; }

  // One optimizer step, exposed for timing and parity; returns nothing that would wait for the device.
  void train_step();

  struct Times {  // seconds since the start
    double data = 0, forward = 0, backward = 0, optimizer = 0;
  };
  const Times& times() const { return times_; }

 private:
  void forget_records_beyond_step();
  void report();
  void record();
  void save();
  void evaluate(bool at_end);
  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  void check_finite();

  // what is trained
  Task& task_;
  Loader& loader_;
  TrainerSetup setup_;
  // parts
  AdamW optimizer_;
  Checkpoints checkpoints_;
  std::vector<ScheduledEvaluator> evaluators_;
  // reporting
  Progress progress_;
  RecordLog records_;
  TensorBoardWriter tensorboard_;
  HealthWatch health_watch_;
  Meter record_meter_, screen_meter_, health_meter_;
  std::vector<Metric> last_evaluation_;
  std::chrono::steady_clock::time_point started_;
  int64_t started_step_ = 0;
  Times times_;
  // training state
  int64_t step_ = 0;  // optimizer steps taken
  int64_t saved_step_ = -1, reported_step_ = -1;
  double skipped_seen_ = 0;
  int64_t skipped_checked_ = 0;
  std::string saved_hash_;
};

// Peak resident memory of this process, bytes.
uint64_t peak_memory();

}  // namespace lacuna
