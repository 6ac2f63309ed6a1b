#pragma once
// Measuring a backbone, for the eval command and the demo.

#include <memory>

#include "cli/run_config.h"
#include "eval/knn.h"
#include "eval/linear_probe.h"

namespace lacuna {

struct EvalCommandConfig {
  DataConfig data;
  FeatureConfig features;
  KnnConfig knn;
  ProbeConfig probe;
  std::string device = "auto";
  Precision precision = Precision::kF32;
  std::optional<int> threads;
  bool random = false;  // the same network with fresh weights
  uint64_t seed = 0;
  std::string json;

  void fields(Fields& f);
};

// The two labelled splits, with equal classes.
struct LabelledData {
  std::unique_ptr<Source> train, val;
};
LabelledData open_labelled(const DataConfig& data);

struct FeaturePair {
  Features train, val;
};
FeaturePair features_of(const Backbone& backbone, const LabelledData& data, const FeatureConfig& config);

}  // namespace lacuna
