#pragma once
// The usual objective: teacher -> normalize @ regions -> head -> loss. Every method of the family is a choice of these
// cells.

#include "mim/head.h"
#include "mim/loss.h"
#include "mim/objective.h"
#include "mim/teacher.h"

namespace lacuna {

// How the losses of the tokens become one number.
enum class Reduction { kTokenMean, kFixedDenominator, kRegionMeans };
inline constexpr Named<Reduction> kReductions[] = {
    {Reduction::kTokenMean, "token_mean", "weighted mean over tokens: sum of w l / sum of w"},
    {Reduction::kFixedDenominator, "fixed_denominator", "sum of w l / (B (1 + N)), whatever is supervised"},
    {Reduction::kRegionMeans, "region_means", "weighted sum of the regions' means"}};

struct DistillConfig {
  NormalizeKind normalize = NormalizeKind::kUnit;
  Regions regions;
  Reduction reduction = Reduction::kTokenMean;
  HeadConfig head;
  LossConfig loss;
};

class Distill : public Objective {
 public:
  Distill(std::string name, double weight, DistillConfig config, std::unique_ptr<Teacher> teacher,
          int64_t student_width);

  std::vector<ViewSpec> views() const override { return {teacher_->view()}; }
  void set_views(const std::vector<size_t>& places) override { view_ = places.at(0); }
  bool needs_masked() const override { return config_.regions.masked > 0; }
  ObjectiveLosses losses(const Step& step) override;
  PatchMaps maps(const Step& step) override;
  void prepare(at::Device device, at::ScalarType teacher_dtype) override { teacher_->to(device, teacher_dtype); }
  std::string describe() const override;

  const Teacher& teacher() const { return *teacher_; }

 private:
  Tokens targets(const Step& step);  // normalised, every region
  at::Tensor reduce(const at::Tensor& per_token, const MaskPlan& plan) const;

  DistillConfig config_;
  std::unique_ptr<Teacher> teacher_;
  std::shared_ptr<Head> head_;
  size_t view_ = 0;
};

}  // namespace lacuna
