#pragma once
// The seam of the trainer: it trains any Task and knows nothing else about methods.

#include <string>
#include <utility>
#include <vector>

#include "nn/weights.h"
#include "train/batch.h"

namespace lacuna {

struct StepContext {
  uint64_t seed = 0;
  int64_t step = 0;
  double progress = 0;    // share of the run that is done, [0, 1]
  bool training = true;   // stochastic depth on
  bool diagnose = false;  // also compute the figures that tell whether pretraining is healthy
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
  virtual void after_step(const StepContext&) {}     // called once the weights have moved
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
