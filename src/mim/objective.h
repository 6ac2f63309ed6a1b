#pragma once
// One term of a method's loss: where what the student knows meets what a teacher says.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mim/student.h"
#include "train/task.h"

namespace lacuna {

// One look of the student at a crop of the samples.
struct Pass {
  MaskPlan plan;
  Encoded encoded;  // `tokens.masked` is defined only if some objective needs it
};

// What an objective may look at in one step.
struct Step {
  const Batch& batch;
  const StepContext& context;
  std::vector<Pass> passes;  // one per crop
  Encoded clean;             // the first crop without a mask; filled only if some objective needs it
  at::Tensor text_ids;       // [B,C] captions as token ids; filled only if some objective needs them
  PathDrop* drop = nullptr;  // null outside training
  std::function<void(const std::string& name, const at::Tensor&)> tell;  // takes intermediate results; may be empty

  void note(const std::string& name, const at::Tensor& value) const {
    if (tell && value.defined()) tell(name, value);
  }
};

struct ObjectiveLosses {
  at::Tensor total;  // 0-d with graph, before the objective's weight
  NamedScalars terms;
  NamedScalars health;
};

// Per-patch pictures of one batch.
struct PatchMaps {
  at::Tensor agreement;   // [B,N] of prediction and target, in [0,1] or a cosine; undefined without patches
  at::Tensor similarity;  // [B,N] cosine of the target's class token with its patches; undefined without either
};

// What an objective asks of a step.
struct Needs {
  bool masked = false;  // the student's prediction of hidden patches
  bool even = false;    // the same number of hidden patches in every image
  bool clean = false;   // a pass without mask
  bool captions = false;
};

class Objective : public torch::nn::Module {
 public:
  Objective(std::string name, double weight) : name_(std::move(name)), weight_(weight) {}

  // The view the teacher wants of each crop; `set_views` tells where in the batch they were put, crop by crop.
  virtual std::vector<ViewSpec> views() const { return {}; }
  virtual void set_views(const std::vector<size_t>& /*places*/) {}
  virtual Needs needs() const { return {}; }

  // The steps of one optimizer update, in order.
  virtual bool can_guide() const { return false; }  // tells which patches matter, for masks that ask
  virtual at::Tensor guide(const Batch& /*batch*/, size_t /*crop*/) { return {}; }  // [B,N]
  virtual ObjectiveLosses losses(const Step& step) = 0;
  virtual void forget() {}  // all objectives have their losses of this step; what they kept for each other may go
  virtual void before_update(const StepContext&) {}
  virtual void after_step(const StepContext&) {}

  virtual PatchMaps maps(const Step&) { return {}; }
  virtual void prepare(at::Device, at::ScalarType /*teacher_dtype*/) {}  // moves what is not a parameter
  virtual void begin(uint64_t /*seed*/) {}                               // the student has its first weights
  virtual NamedTensors extra_state() { return {}; }                      // what is not a parameter but must be resumed
  virtual std::string describe() const = 0;

  // Writes student and whatever belongs to it as one folder that other tools know, where this objective makes more of
  // the student than a backbone. False when it does not.
  virtual bool write_towers(const std::filesystem::path& /*folder*/, const Vit& /*vit*/,
                            const BackboneConfig& /*config*/) const {
    return false;
  }

  const std::string& objective_name() const { return name_; }
  double weight() const { return weight_; }

 private:
  std::string name_;
  double weight_;
};

}  // namespace lacuna
