#pragma once
// How far two sets of weights, and what two networks make of the same images, are apart.

#include <string>
#include <utility>
#include <vector>

#include "data/source/source.h"
#include "nn/frozen_vit.h"
#include "nn/weights/tensor_stats.h"
#include "nn/weights/weights.h"

namespace lacuna {

// Tensors by name, wherever their bytes lie.
using TensorList = std::vector<std::pair<std::string, TensorInfo>>;
TensorList tensors_of(const TensorFile& file);

struct WeightsComparison {
  struct Pair {
    std::string name;
    DType a = DType::kF32, b = DType::kF32;
    TensorDifference difference;
  };
  struct Shapes {
    std::string name;
    std::vector<std::int64_t> a, b;
  };
  std::vector<std::string> only_a, only_b;
  std::vector<Shapes> shapes;   // of tensors whose shapes differ
  std::vector<Pair> different;  // in value, the largest relative difference first
  std::vector<Pair> retyped;    // equal values of another type
  std::int64_t identical = 0;   // bit for bit

  bool same_names() const { return only_a.empty() && only_b.empty(); }
  double largest_relative() const { return different.empty() ? 0 : different[0].difference.relative; }
  // Same names and shapes, and no tensor further apart than `tolerance` relative to its largest value.
  bool within(double tolerance) const { return same_names() && shapes.empty() && largest_relative() <= tolerance; }
};
WeightsComparison compare_tensors(const TensorList& a, const TensorList& b);

// The network's tensors under our names whatever the file called them, with what files write in several ways brought to
// one: fixed positions as stored ones, biases of query and value as one bias of all three.
NamedTensors canonical_tensors(const FrozenVit& model);
TensorList views_of(const NamedTensors& tensors);  // float32 on the CPU, contiguous; these must outlive the list

// One layer's tokens of the same images.
struct LayerComparison {
  std::string layer;                         // "0" (input of the first block), "1", …, "last", "projected"
  double largest = 0, relative = 0;          // of all tokens; of the mean token where the grids differ
  double class_cosine = 1, mean_cosine = 1;  // the smallest over the images; NaN where there is no such token
};

struct FeatureComparison {
  std::vector<LayerComparison> layers;
  std::int64_t images = 0;
  std::string why_not;  // empty unless the features cannot be compared

  double largest_relative() const;
};

// Runs both networks in double, each on its own view of the images (its own framing, size and statistics). Where
// the depths differ only what leaves the last norm is compared. Throws Error(kBadData) for an image that cannot be
// read.
FeatureComparison compare_features(FrozenVit& a, FrozenVit& b, const Source& images);

}  // namespace lacuna
