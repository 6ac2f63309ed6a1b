#pragma once
// From the student's width to the target's.

#include "base/config.h"
#include "nn/layers.h"

namespace lacuna {

struct HeadConfig {
  bool norm = true;

  void fields(Fields& f);
};

// [B,R,D] -> [B,R,K]: an optional LayerNorm, then a Linear with bias.
class Head : public torch::nn::Module {
 public:
  Head(const HeadConfig& config, int64_t width, int64_t out);
  at::Tensor forward(const at::Tensor& tokens);

 private:
  LayerNorm norm_{nullptr};
  Linear proj_;
};

}  // namespace lacuna
