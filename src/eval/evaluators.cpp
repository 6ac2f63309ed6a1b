#include "eval/evaluators.h"

#include <utility>

#include "base/error.h"

namespace lacuna {

KnnEvaluator::KnnEvaluator(BackboneView backbone, const Source& train, const Source& val, FeatureConfig features,
                           KnnConfig config)
    : backbone_(std::move(backbone)), train_(train), val_(val), features_(std::move(features)), config_(config) {
  check_same_classes(train.classes(), val.classes());
  const std::int64_t rows = sample_count(train, features_);
  check(config.k <= rows, "knn.k is ", config.k, ", but only ", rows,
        " training samples are looked at; choose a smaller k or more data");
}

std::vector<Metric> KnnEvaluator::run(int64_t) {
  const Backbone backbone = backbone_();
  const Features train = extract_features(backbone, train_, features_);
  const Accuracy accuracy = knn_accuracy(train, extract_features(backbone, val_, features_), config_);
  return {{"knn_top1", accuracy.top1}, {"knn_top5", accuracy.top5}};
}

LinearProbeEvaluator::LinearProbeEvaluator(BackboneView backbone, const Source& train, const Source& val,
                                           FeatureConfig features, ProbeConfig config)
    : backbone_(std::move(backbone)),
      train_(train),
      val_(val),
      features_(std::move(features)),
      config_(std::move(config)) {
  check_same_classes(train.classes(), val.classes());
}

std::vector<Metric> LinearProbeEvaluator::run(int64_t) {
  const Backbone backbone = backbone_();
  const Features train = extract_features(backbone, train_, features_);
  const Accuracy accuracy = linear_probe(train, extract_features(backbone, val_, features_), config_).accuracy;
  return {{"linear_top1", accuracy.top1}, {"linear_top5", accuracy.top5}};
}

}  // namespace lacuna
