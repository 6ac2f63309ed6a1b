#pragma once
// Image-text contrast (CLIP): both towers are trained, the student's class token against the caption's end token.

#include "data/tokenizer.h"
#include "mim/objective.h"
#include "nn/clip.h"

namespace lacuna {

struct ContrastConfig {
  TextConfig text;      // vocabulary and end id come from the tokenizer
  int64_t embed = 512;  // K
  double temperature = 0.07;

  void fields(Fields& f);
};

// Symmetric cross entropy over the batch: (CE(s I T^T) + CE(s T I^T)) / 2 with unit-length I, T [B,K] and the learnable
// scale s = exp(logit_scale), capped at 100. 0-d.
at::Tensor contrastive_loss(const at::Tensor& image, const at::Tensor& text, const at::Tensor& logit_scale);

class Contrast : public Objective {
 public:
  Contrast(std::string name, double weight, const ContrastConfig& config, std::shared_ptr<const Tokenizer> tokenizer,
           int64_t student_width);

  bool needs_captions() const override { return true; }
  ObjectiveLosses losses(const Step& step) override;
  std::string describe() const override;
  bool write_towers(const std::filesystem::path& folder, const Vit& vit, const BackboneConfig& config) const override;

 private:
  at::Tensor token_ids(const std::vector<std::string>& captions, at::Device device) const;  // [B,C]

  TextConfig text_config_;
  int64_t embed_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Linear vision_projection_;
  TextTower text_;
  Linear text_projection_;
  at::Tensor logit_scale_;  // 0-d, the logarithm
};

}  // namespace lacuna
