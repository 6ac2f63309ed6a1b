#pragma once
// Weighted k-nearest-neighbour classification, as DINO's eval_knn.py does it (Wu et al., "Unsupervised Feature Learning
// via Non-Parametric Instance Discrimination", CVPR 2018): features are L2-normalised, the k training rows of largest
// cosine s vote for their class with weight exp(s / T), and the classes are ordered by the sum of their votes.
//
// The published code leaves ties to the library; here the lower training index, then the lower class comes first. As
// there, top-5 looks at the first min(5, k) classes, and a class without a vote still has a place: with a small k such
// classes are counted, in class order.

#include <cstdint>
#include <span>
#include <vector>

#include "base/config.h"
#include "eval/accuracy.h"
#include "eval/features.h"

namespace lacuna {

inline constexpr const char* kKnnProtocol = "knn";
inline constexpr int kKnnVersion = 1;

struct KnnConfig {
  std::int64_t k = 20;
  double temperature = 0.07;
  std::int64_t chunk_bytes = std::int64_t{256} << 20;  // of the similarities held at a time; no part of the result
  at::Device device = at::kCPU;                        // where it is computed; the training features must fit there

  void fields(Fields& f);
};

struct Neighbors {
  at::Tensor similarity;  // [n,k] cosine, falling
  at::Tensor index;       // [n,k] int64 training rows; equal cosines in rising order
};

// The k nearest rows of train [m,D] for each of queries [n,D], both of unit rows; n * m similarities are held at once.
// Which rows are chosen is exact for ties too: of equal cosines at the k-th place the lower indices stay.
Neighbors nearest_rows(const at::Tensor& train, const at::Tensor& queries, std::int64_t k);

// Votes [n,C] in float64, each row divided by exp(s_1 / T) of its nearest neighbour: no temperature overflows, and the
// order of the classes is that of the plain sums.
at::Tensor class_votes(const Neighbors& neighbors, const at::Tensor& train_labels, std::int64_t classes,
                       double temperature);

// Error when the sets do not compare (check_comparable) or the training set has fewer rows than k.
Accuracy knn_accuracy(const Features& train, const Features& val, const KnnConfig& config,
                      const EvalProgress& progress = nullptr);

// The same for several k in one pass over the similarities; config.k is not looked at.
std::vector<Accuracy> knn_accuracies(const Features& train, const Features& val, std::span<const std::int64_t> ks,
                                     const KnnConfig& config, const EvalProgress& progress = nullptr);

}  // namespace lacuna
