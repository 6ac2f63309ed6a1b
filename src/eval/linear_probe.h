#pragma once
// Linear probing on cached features: the protocol "linear-cached", version 1.
//
// From MAE and CAE (cae.md section 6.1): parameter-free batch norm and a linear layer on frozen features,
// cross-entropy, LARS with momentum 0.9 and no weight decay, 90 epochs with a linear warm-up of 10, by the fraction of
// the epoch, then half a cosine to 0; running statistics at evaluation.
//
// It deviates where the published protocol does not suit a tool, so its figures must not be compared with published
// ones:
//   - Features are computed once, from the centre crop. There is no random crop or flip while the head is trained.
//   - The published rate, 0.1 * batch / 256, is 6.4 for a batch of 16384 on 1.28 M images. LARS moves a weight by a
//     share of its norm, so what a head learns depends on rate times steps, and on a few thousand images and their
//     small batches that rule leaves it untrained. A geometric series of rates that holds 6.4 is trained side by side
//     instead, the best on a held-out part of the TRAINING data is chosen (the validation data play no part), and a
//     new head is trained with it on all training data.
//   - The batch is smaller: see probe_batch.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/config.h"
#include "eval/accuracy.h"
#include "eval/features.h"
#include "eval/linear_heads.h"

namespace lacuna {

inline constexpr const char* kLinearProtocol = "linear-cached";
inline constexpr int kLinearVersion = 1;
inline constexpr double kProbeNormEps = 1e-6;

struct ProbeConfig {
  ProbeUpdate update = {};
  std::int64_t epochs = 90;
  std::int64_t warmup = 10;                // epochs
  std::optional<std::int64_t> batch = {};  // probe_batch when empty
  // Peaks; one is taken as it is.
  std::vector<double> rates = {0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2};
  double held_out = 0.1;  // share of the training rows on which the rate is chosen
  std::uint64_t seed = 0;
  at::Device device = at::kCPU;

  void fields(Fields& f);
};

struct ProbeTrial {
  double rate = 0;  // peak
  Accuracy held_out = {};
  double loss = 0;  // on the held-out rows; not finite for a head that diverged
};

struct ProbeResult {
  Accuracy accuracy = {};  // on the validation rows
  double rate = 0;         // peak, of the final head
  std::int64_t batch = 0;
  std::int64_t train_samples = 0;
  std::int64_t held_out_samples = 0;    // 0 when there was nothing to choose
  std::vector<ProbeTrial> trials = {};  // in the order of the rates; empty when there was nothing to choose
};

// A 32nd of the rows within [16, 1024], and never more than there are: an epoch then has 32 steps up to 32 thousand
// rows, and LARS gets the few thousand steps it needs on small sets, too.
std::int64_t probe_batch(std::int64_t rows);

// The rate at a point of the schedule, in epochs with their fraction.
double probe_rate(double peak, double epoch, double warmup, double epochs);

// Deterministic for a seed (on one device): weights, held-out rows and the order of every epoch come from Rng. An epoch
// leaves out the rows that do not fill a batch, others each time. Rates are chosen by accuracy, then by loss. Error
// when the sets do not compare (check_comparable), when there are too few rows, or when the chosen head diverged.
ProbeResult linear_probe(const Features& train, const Features& val, const ProbeConfig& config,
                         const EvalProgress& progress = nullptr);

}  // namespace lacuna
