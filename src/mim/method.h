#pragma once
// A method is a value: a masker, a student and a list of objectives. This is the Task made of them; it compares no
// names.

#include <memory>
#include <string>
#include <vector>

#include "mim/objective.h"
#include "mim/text_student.h"

namespace lacuna {

// What a method is made of.
struct MethodParts {
  ViewSpec student_view;
  Masker masker;
  Student student;
  TextStudent text{nullptr};  // null where nothing reads captions
  std::vector<std::shared_ptr<Objective>> objectives;
  int64_t crops = 1;
};

class Method : public Task {
 public:
  explicit Method(MethodParts parts);

  // Call once the weights have their first values; copies of them start here.
  void begin(uint64_t seed);

  torch::nn::Module& module() override { return *root_; }
  std::vector<ViewSpec> views() const override { return views_; }
  bool wants_captions() const override { return needs_.captions; }
  Losses losses(const Batch& batch, const StepContext& context) override;
  void before_update(const StepContext& context) override;
  void after_step(const StepContext& context) override;
  NamedTensors extra_state() override;

  // Moves everything, teachers included. Frozen teachers run in `teacher_dtype`.
  void to(at::Device device, at::ScalarType teacher_dtype);

  // The pieces of one step, for pictures, traces and tests.
  MaskPlan plan(const Batch& batch, const StepContext& context, int crop = 0) const;
  Step look(const Batch& batch, const StepContext& context, PathDrop* drop);  // masks drawn, latents computed
  PatchMaps maps(const Batch& batch, const StepContext& context);

  const Student& student() const { return parts_.student; }
  const TextStudent& text() const { return parts_.text; }
  const Masker& masker() const { return parts_.masker; }
  int64_t crops() const { return parts_.crops; }
  const std::vector<std::shared_ptr<Objective>>& objectives() const { return parts_.objectives; }

 private:
  void check_masked(const Objective& objective) const;
  void check_even(const std::string& who) const;

  MethodParts parts_;
  std::shared_ptr<torch::nn::Module> root_;  // "student", "text" and "objective.<name>"
  std::vector<ViewSpec> views_;              // the student's first, crop by crop
  Needs needs_;                              // of all objectives
};

}  // namespace lacuna
