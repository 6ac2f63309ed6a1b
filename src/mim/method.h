#pragma once
// A method is a value: a masker, a student and a list of objectives. This is the Task made of them; it compares no
// names.

#include <memory>
#include <string>
#include <vector>

#include "mim/objective.h"

namespace lacuna {

class Method : public Task {
 public:
  Method(ViewSpec student_view, Masker masker, Student student, std::vector<std::shared_ptr<Objective>> objectives);

  torch::nn::Module& module() override { return *root_; }
  std::vector<ViewSpec> views() const override { return views_; }
  bool wants_captions() const override;
  Losses losses(const Batch& batch, const StepContext& context) override;

  // Moves everything, teachers included. Teachers run in `teacher_dtype`.
  void to(at::Device device, at::ScalarType teacher_dtype);

  // The pieces of one step, for pictures and tests: masks drawn, latents computed.
  MaskPlan plan(const Batch& batch, const StepContext& context) const;
  PatchMaps maps(const Batch& batch, const MaskPlan& plan, const StepContext& context);

  const Student& student() const { return student_; }
  const Masker& masker() const { return masker_; }
  const std::vector<std::shared_ptr<Objective>>& objectives() const { return objectives_; }

 private:
  bool needs_masked() const;

  Masker masker_;
  std::shared_ptr<torch::nn::Module> root_;  // "student" and "objective.<name>"
  Student student_;
  std::vector<std::shared_ptr<Objective>> objectives_;
  std::vector<ViewSpec> views_;  // the student's first
};

}  // namespace lacuna
