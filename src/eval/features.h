#pragma once
// Features of a frozen backbone for every sample of a source: what k-NN and the linear probe work on.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/source/source.h"
#include "eval/view_batches.h"
#include "nn/backbone.h"

namespace lacuna {

enum class TokenPool {
  kClass,  // the class token after the final norm
  kMean,   // the mean of the patch tokens after the final norm
};
inline constexpr Named<TokenPool> kTokenPools[] = {
    {TokenPool::kClass, "class", "the class token after the final norm"},
    {TokenPool::kMean, "mean", "the mean of the patch tokens after the final norm"}};

// Called after each batch with the number of samples done and of all.
using EvalProgress = std::function<void(std::int64_t done, std::int64_t total)>;

struct FeatureConfig {
  TokenPool pool = TokenPool::kClass;
  std::int64_t batch = 64;
  int threads = 2;                               // that decode
  double crop_ratio = 0.875;                     // 224 of 256 pixels; 1 for images that were made at the network's size
  std::optional<std::int64_t> max_samples = {};  // a fixed random subset of this many where the source has more
  double max_bad_share = 0.01;
  bool bf16 = false;  // not a field: the command line resolves a Precision for the device

  void fields(Fields& f);
};

inline constexpr std::size_t kNamedBadSamples = 20;

struct Features {
  at::Tensor values = {};                 // [n,D] float32, CPU
  at::Tensor labels = {};                 // [n] int64, CPU; kNoLabel where there is none
  std::vector<std::string> classes = {};  // of the source
  std::int64_t left_out = 0;              // samples that could not be decoded
  std::vector<BadSample> bad = {};        // the first kNamedBadSamples of them
};

// Runs on the device that holds the backbone's weights, whose state, mode and gradients stay as they are. The rows are
// in the source's order, the view is the evaluation transform (data/view/augment.h), and the result does not depend on
// the number of threads. Samples that cannot be decoded are left out; Error(kBadData) when they are more than max(1,
// max_bad_share of the samples) or all. Error when a feature is not finite.
Features extract_features(const Backbone& backbone, const Source& source, const FeatureConfig& config,
                          const EvalProgress& progress = nullptr);

// The number of samples extract_features looks at.
std::int64_t sample_count(const Source& source, const FeatureConfig& config);

// Throws Error that names the first differences, or says that there are no classes at all.
void check_same_classes(const std::vector<std::string>& train, const std::vector<std::string>& val);

// What every evaluator asks of its two sets: equal classes and widths, rows on both sides, a valid label on each row.
void check_comparable(const Features& train, const Features& val);

}  // namespace lacuna
