#pragma once
// The usual objective: teacher -> normalize @ region -> head -> loss. Every method of the family is a choice of these
// cells.

#include "mim/head.h"
#include "mim/loss.h"
#include "mim/normalize.h"
#include "mim/objective.h"
#include "mim/teacher.h"

namespace lacuna {

// How the losses of the tokens become one number.
enum class Reduction { kTokenMean, kImageMean, kFixedDenominator, kRegionMeans };
inline constexpr Named<Reduction> kReductions[] = {
    {Reduction::kTokenMean, "token_mean", "weighted mean over tokens: sum of w l / sum of w"},
    {Reduction::kImageMean, "image_mean", "mean over images of their masked patches' mean"},
    {Reduction::kFixedDenominator, "fixed_denominator", "sum of w l / (B (1 + N)), whatever is supervised"},
    {Reduction::kRegionMeans, "region_means", "weighted sum of the regions' means"}};

// With several crops a target is of the student's own crop, or of each of the others.
enum class CropPairs { kSame, kOthers };
inline constexpr Named<CropPairs> kCropPairs[] = {{CropPairs::kSame, "same"}, {CropPairs::kOthers, "others"}};

// Normalisation of the mean of several blocks, and of predictions.
struct DistillConfig {
  NormalizeConfig normalize;
  NormalizeConfig normalize_mean{.kind = NormalizeKind::kKeep};
  NormalizeConfig normalize_prediction{.kind = NormalizeKind::kKeep};
  RegionConfig region;
  Reduction reduction = Reduction::kTokenMean;
  CropPairs crops = CropPairs::kSame;
  HeadConfig head;
  double freeze_prototypes = 0;  // epochs
  LossConfig loss;

  void fields(Fields& f);
};

// A teacher that several objectives look to: an image is shown to it once in a step.
class SharedTeacher {
 public:
  explicit SharedTeacher(std::unique_ptr<Teacher> teacher) : teacher_(std::move(teacher)) {}

  Teacher& get() const { return *teacher_; }
  const Observation& observe(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop);
  void forget() { seen_.clear(); }

 private:
  std::unique_ptr<Teacher> teacher_;
  std::vector<std::pair<at::Tensor, Observation>> seen_;  // holds the images, so that no other can take their place
};

class Distill : public Objective {
 public:
  // Checks that the cells fit each other; Error says what would. Head and teacher may be shared by objectives (iBOT's
  // class token and patches): one of them owns both, trains the head and moves the teacher.
  Distill(std::string name, double weight, DistillConfig config, std::shared_ptr<SharedTeacher> teacher,
          std::shared_ptr<Head> head, bool owns = true, int64_t crops = 1);

  std::vector<ViewSpec> views() const override;
  void set_views(const std::vector<size_t>& places) override { views_ = places; }
  Needs needs() const override { return {.masked = regions_.masked > 0, .even = compares_tokens()}; }
  bool can_guide() const override { return teacher_->get().can_guide(); }
  at::Tensor guide(const Batch& batch, size_t crop) override {
    return teacher_->get().attention(batch.views.at(views_.at(crop)));
  }
  ObjectiveLosses losses(const Step& step) override;
  void forget() override { teacher_->forget(); }
  void before_update(const StepContext& context) override;
  void after_step(const StepContext& context) override;
  PatchMaps maps(const Step& step) override;
  void prepare(at::Device device, at::ScalarType teacher_dtype) override;
  void begin(uint64_t seed) override;
  NamedTensors extra_state() override;
  std::string describe() const override;

  const std::shared_ptr<SharedTeacher>& teacher() const { return teacher_; }
  const std::shared_ptr<Head>& head() const { return head_; }

  // Normalised targets of one crop, split by the plan. With `remember` the step's raw targets move the normalisation's
  // state once the weights have moved.
  Tokens targets(const Step& step, size_t crop, const MaskPlan& plan, bool remember);
  at::Tensor predict(const Tokens& tokens, const MaskPlan& plan, PathDrop* drop);  // [B,R,K]

 private:
  at::Tensor shape(const Observation& seen, const StepContext& context);
  at::Tensor reduce(const at::Tensor& per_token, const MaskPlan& plan) const;
  NamedScalars health(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& latents) const;
  void check_cells() const;
  bool compares_tokens() const;

  DistillConfig config_;
  Regions regions_;
  std::shared_ptr<SharedTeacher> teacher_;
  std::shared_ptr<Head> head_;
  bool owns_;
  Normalizer normalizer_;
  int64_t crops_;
  std::vector<size_t> views_{0};
  std::vector<at::Tensor> seen_;  // raw targets of this optimizer step
};

}  // namespace lacuna
