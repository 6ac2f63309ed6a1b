#pragma once
// Evaluations that run now and then while a model is trained.

#include <functional>
#include <string>
#include <vector>

#include "eval/knn.h"
#include "eval/linear_probe.h"
#include "train/task.h"

namespace lacuna {

// A view of the model that is trained: the holder shares its weights.
using BackboneView = std::function<Backbone()>;

// Both leave weights, gradients and mode as they are and take no random numbers of the run, so that training goes on as
// if they had not been there. The sources must outlive them. The constructors throw Error for sources whose classes
// differ and for settings that the training source is too small for.
class KnnEvaluator : public Evaluator {
 public:
  KnnEvaluator(BackboneView backbone, const Source& train, const Source& val, FeatureConfig features, KnnConfig config);

  std::string name() const override { return kKnnProtocol; }
  std::vector<Metric> run(int64_t step) override;  // knn_top1 and knn_top5, percent

 private:
  BackboneView backbone_;
  const Source& train_;
  const Source& val_;
  FeatureConfig features_;
  KnnConfig config_;
};

class LinearProbeEvaluator : public Evaluator {
 public:
  LinearProbeEvaluator(BackboneView backbone, const Source& train, const Source& val, FeatureConfig features,
                       ProbeConfig config);

  std::string name() const override { return kLinearProtocol; }
  std::vector<Metric> run(int64_t step) override;  // linear_top1 and linear_top5, percent

 private:
  BackboneView backbone_;
  const Source& train_;
  const Source& val_;
  FeatureConfig features_;
  ProbeConfig config_;
};

}  // namespace lacuna
