#pragma once
// The seam of the trainer: it trains any Task and knows nothing else about methods.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "nn/weights/weights.h"
#include "train/batch.h"
#include "train/ranks.h"

namespace lacuna {

struct StepContext {
  uint64_t seed = 0;
  int64_t step = 0;
  double progress = 0;    // share of the run that is done, [0, 1]
  bool training = true;   // stochastic depth on
  bool diagnose = false;  // also compute the figures that tell whether pretraining is healthy
  int64_t total_steps = 1;
  int64_t steps_per_epoch = 1;
  double lr = 0;  // of this step, before any factor of a parameter's own
  const Ranks* ranks = &one_rank();
  // Takes the intermediate results of a step by name, for traces; usually empty.
  std::function<void(const std::string& name, const at::Tensor&)> tell = {};

  int64_t epoch() const { return step / steps_per_epoch; }
};

using NamedScalars = std::vector<std::pair<std::string, at::Tensor>>;  // 0-d tensors, detached, on the device

struct Losses {
  at::Tensor total;     // 0-d, with graph
  NamedScalars terms;   // what the total is made of
  NamedScalars health;  // only when asked for by `diagnose`
};

class Task {
 public:
  virtual ~Task() = default;

  virtual torch::nn::Module& module() = 0;          // all that is trained, and nothing else
  virtual std::vector<ViewSpec> views() const = 0;  // what the loader is to draw of each sample
  virtual bool wants_captions() const { return false; }
  virtual Losses losses(const Batch& batch, const StepContext& context) = 0;
  // Called between backward and the optimizer, once a step. A gradient that is reset here (undefined, not zero) keeps
  // its parameter out of the step: no update, no decay, no moments.
  virtual void before_update(const StepContext&) {}
  virtual void after_step(const StepContext&) {}     // called once the weights have moved, with the step's own context
  virtual NamedTensors extra_state() { return {}; }  // what module() does not hold but a resume needs
};

struct Metric {
  std::string name;
  double value;
};

// Something that is looked at now and then during a run and at its end. Must not change the task's state.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual std::string name() const = 0;
  virtual std::vector<Metric> run(int64_t step) = 0;
};

}  // namespace lacuna
