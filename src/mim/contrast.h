#pragma once
// Image-text contrast (CLIP): both towers are trained, the student's class token against the caption's end token.

#include "mim/objective.h"
#include "mim/text_student.h"
#include "nn/clip.h"

namespace lacuna {

enum class ContrastPass { kClean, kMasked };
inline constexpr Named<ContrastPass> kContrastPasses[] = {
    {ContrastPass::kClean, "clean", "the intact image"},
    {ContrastPass::kMasked, "masked", "the masked pass's class token"}};

enum class ContrastTotal { kMean, kSum };
inline constexpr Named<ContrastTotal> kContrastTotals[] = {{ContrastTotal::kMean, "mean", "half of both directions"},
                                                           {ContrastTotal::kSum, "sum", "both directions"}};

struct ContrastConfig {
  int64_t embed = 512;  // K
  double temperature = 0.07;
  double max_scale = 100;
  ContrastPass pass = ContrastPass::kClean;
  ContrastTotal total = ContrastTotal::kMean;

  void fields(Fields& f);
};

struct ContrastLosses {
  at::Tensor image, text;  // 0-d: captions looked up by images, images by captions
};

// Cross entropy of the scaled cosines, s I T^T, over the batch of all ranks: each rank's rows against everybody's
// columns, so that the mean over ranks is the loss of one process with the whole batch, gradients included. image and
// text are the local [b,K], s = exp(logit_scale). With several ranks the towers' gradients are exact once they are
// averaged over ranks as data-parallel training does.
ContrastLosses contrastive_losses(const at::Tensor& image, const at::Tensor& text, const at::Tensor& logit_scale,
                                  const Ranks& ranks = one_rank());

class Contrast : public Objective {
 public:
  Contrast(std::string name, double weight, const ContrastConfig& config, TextStudent text, int64_t vision_width);

  Needs needs() const override;
  ObjectiveLosses losses(const Step& step) override;
  void after_step(const StepContext& context) override;  // keeps the scale within [1, max_scale]
  std::string describe() const override;
  bool write_towers(const std::filesystem::path& folder, const Vit& vit, const BackboneConfig& config) const override;

 private:
  ContrastConfig config_;
  TextStudent text_;  // the method's; not registered here
  Linear vision_projection_;
  Linear text_projection_;
  at::Tensor logit_scale_;  // 0-d, the logarithm
};

}  // namespace lacuna
