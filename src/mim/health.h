#pragma once
// Figures that tell whether a pretraining is healthy, so that nobody needs to ask whether a loss is normal.

#include "nn/torch.h"
#include "train/task.h"

namespace lacuna {

// Mean cosine of prediction and target, [B,R,K] each.
at::Tensor mean_cosine(const at::Tensor& prediction, const at::Tensor& target);

// The same for the best constant predictor: the mean direction of the targets of this batch. A student that does not
// beat it has learnt nothing about single tokens.
at::Tensor trivial_cosine(const at::Tensor& target);

// Variance of the unit-length targets over tokens, summed over channels: 0 when all targets are alike, at most 1.
at::Tensor target_variance(const at::Tensor& target);

// exp(entropy) of the normalised eigenvalues of the features' covariance (Roy and Vetterli, 2007): how many directions
// the features really use. [.., D]; at most kRankRows rows are looked at.
at::Tensor effective_rank(const at::Tensor& features);

// For classes and probabilities. `prediction` are logits [B,R,K], `ids` [B,R,1], `probabilities` [B,R,K].
at::Tensor class_accuracy(const at::Tensor& prediction, const at::Tensor& ids);
at::Tensor largest_class_share(const at::Tensor& ids);        // accuracy of the best constant answer
at::Tensor mean_entropy(const at::Tensor& probabilities);     // nats; 0 says the targets are one-hot
at::Tensor entropy_of_mean(const at::Tensor& probabilities);  // nats; 0 says all targets are the same: collapse

inline constexpr int64_t kRankRows = 2048;

}  // namespace lacuna
