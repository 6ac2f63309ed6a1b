#pragma once
// Tokens sorted by region: what the student knows of an image, what a head predicts, what a teacher says.

#include "base/config.h"
#include "mim/mask.h"
#include "nn/torch.h"

namespace lacuna {

// One number per region. As weights: a region of weight 0 is neither computed nor supervised.
struct Regions {
  double cls = 0;
  double visible = 0;
  double masked = 0;

  void fields(Fields& f);
};

struct Tokens {
  at::Tensor cls;      // [B,1,D]
  at::Tensor visible;  // [B,V,D]
  at::Tensor masked;   // [B,M,D]; undefined until the student completed it

  // The regions of positive weight side by side, in the order class, visible, masked: [B,R,D].
  at::Tensor join(const Regions& regions) const;
};

// Splits a full grid with class token, [B,1+N,D], by the plan.
Tokens split_tokens(const at::Tensor& full, const MaskPlan& plan);

// The weight of each of the R tokens that Tokens::join lines up. [R]
at::Tensor token_weights(const Regions& regions, const MaskPlan& plan, const at::TensorOptions& options);

}  // namespace lacuna
