#pragma once
// One term of a method's loss: where what the student knows meets what a teacher says.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "mim/student.h"
#include "train/task.h"

namespace lacuna {

// What an objective may look at in one step. `tokens.masked` is defined only if some objective needs it.
struct Step {
  const Batch& batch;
  const MaskPlan& plan;
  const Tokens& tokens;  // the student's latents
  const StepContext& context;
};

struct ObjectiveLosses {
  at::Tensor total;  // 0-d with graph, before the objective's weight
  NamedScalars terms;
  NamedScalars health;
};

// Per-patch pictures of one batch.
struct PatchMaps {
  at::Tensor agreement;   // [B,N] cosine of prediction and target; undefined if the objective has no patches
  at::Tensor similarity;  // [B,N] cosine of the target's class token with its patches
};

class Objective : public torch::nn::Module {
 public:
  Objective(std::string name, double weight) : name_(std::move(name)), weight_(weight) {}

  // Views the teacher wants, beside the student's. `set_views` tells where in the batch they were put.
  virtual std::vector<ViewSpec> views() const { return {}; }
  virtual void set_views(const std::vector<size_t>& /*places*/) {}
  virtual bool needs_masked() const { return false; }
  virtual bool needs_captions() const { return false; }
  virtual ObjectiveLosses losses(const Step& step) = 0;
  virtual PatchMaps maps(const Step&) { return {}; }
  virtual void prepare(at::Device, at::ScalarType /*teacher_dtype*/) {}  // moves what is not a parameter
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
