#include "eval/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

constexpr double kInitSigma = 0.01;
constexpr std::int64_t kScoreBytes = std::int64_t{256} << 20;

// The streams of Purpose::kProbe: epoch 0 for what is drawn once (the sample tells what), 1 + e for the order of epoch
// e. features.cpp has (0, 0).
enum Draw : std::uint64_t { kWeights = 1, kHeldOut = 2 };

std::vector<std::int64_t> shuffled(std::vector<std::int64_t> rows, Rng rng) {
  for (std::int64_t i = std::ssize(rows) - 1; i > 0; --i) {
    std::swap(rows[static_cast<std::size_t>(i)], rows[static_cast<std::size_t>(rng.integer(0, i))]);
  }
  return rows;
}

std::vector<std::int64_t> all_rows(std::int64_t n) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// Labelled rows on the device.
struct Rows {
  at::Tensor values;  // [n,D]
  at::Tensor labels;  // [n]

  std::int64_t size() const { return labels.size(0); }
  Rows pick(const std::vector<std::int64_t>& rows) const {
    const at::Tensor index = torch::tensor(rows, at::kLong).to(labels.device());
    return {values.index_select(0, index), labels.index_select(0, index)};
  }
};

Rows rows_of(const Features& features, at::Device device) {
  return {features.values.to(device), features.labels.to(device)};
}

// Every head starts from the same weights, so that they differ by their rate alone.
LinearHeads fresh_heads(std::int64_t heads, std::int64_t classes, const at::Tensor& values, std::uint64_t seed) {
  Rng rng(seed, Purpose::kProbe, 0, kWeights);
  std::vector<double> draws(static_cast<std::size_t>(classes * values.size(1)));
  for (double& draw : draws) draw = kInitSigma * rng.normal();
  const at::Tensor one = torch::tensor(draws, at::kDouble).view({1, classes, -1}).to(values.options());
  return {one.expand({heads, -1, -1}), at::zeros({heads, classes}, values.options()), kProbeNormEps};
}

class Training {
 public:
  Training(const ProbeConfig& config, std::int64_t classes, std::int64_t batch, const EvalProgress& progress)
      : config_(config), classes_(classes), batch_(batch), progress_(progress) {}

  void expect_runs(std::int64_t runs) { total_epochs_ = runs * config_.epochs; }

  // One head for each peak.
  LinearHeads run(const Rows& rows, const std::vector<double>& peaks) {
    LinearHeads heads = fresh_heads(std::ssize(peaks), classes_, rows.values, config_.seed);
    for (std::int64_t epoch = 0; epoch < config_.epochs; ++epoch) {
      run_epoch(heads, rows, peaks, epoch);
      if (progress_) progress_(++done_epochs_, total_epochs_);
    }
    return heads;
  }

 private:
  void run_epoch(LinearHeads& heads, const Rows& rows, const std::vector<double>& peaks, std::int64_t epoch) const {
    const auto order =
        shuffled(all_rows(rows.size()), Rng(config_.seed, Purpose::kProbe, 1 + static_cast<std::uint64_t>(epoch)));
    const at::Tensor index = torch::tensor(order, at::kLong).to(rows.labels.device());
    const std::int64_t batch = std::min(batch_, rows.size()), steps = rows.size() / batch;
    for (std::int64_t step = 0; step < steps; ++step) {
      const at::Tensor picked = index.narrow(0, step * batch, batch);
      const double at = static_cast<double>(epoch) + static_cast<double>(step) / static_cast<double>(steps);
      const auto gradients = heads.gradients(rows.values.index_select(0, picked), rows.labels.index_select(0, picked));
      heads.update(gradients, rates_at(peaks, at, rows.values), config_.update);
    }
  }

  at::Tensor rates_at(const std::vector<double>& peaks, double epoch, const at::Tensor& like) const {
    std::vector<double> rates;
    for (const double peak : peaks) {
      rates.push_back(
          probe_rate(peak, epoch, static_cast<double>(config_.warmup), static_cast<double>(config_.epochs)));
    }
    return torch::tensor(rates, at::kDouble).to(like.options());
  }

  const ProbeConfig& config_;
  const std::int64_t classes_, batch_;
  const EvalProgress& progress_;
  std::int64_t done_epochs_ = 0, total_epochs_ = 0;
};

struct Scores {
  at::Tensor places;  // [S,n], CPU
  at::Tensor loss;    // [S], mean, CPU
};

Scores score(const LinearHeads& heads, const Rows& rows) {
  const std::int64_t row_bytes = heads.bias().numel() * heads.bias().element_size();
  const std::int64_t chunk = std::max<std::int64_t>(1, kScoreBytes / row_bytes);
  std::vector<at::Tensor> places;
  at::Tensor loss = at::zeros({heads.bias().size(0)}, at::kDouble);
  for (std::int64_t begin = 0; begin < rows.size(); begin += chunk) {
    const std::int64_t count = std::min(chunk, rows.size() - begin);
    const at::Tensor labels = rows.labels.narrow(0, begin, count);
    const at::Tensor logits = heads.logits(rows.values.narrow(0, begin, count));  // [S,n,K]
    const at::Tensor truth = labels.expand({logits.size(0), -1});
    places.push_back(places_of(logits, truth).cpu());
    loss -=
        at::log_softmax(logits, 2).gather(2, truth.unsqueeze(2)).sum(at::IntArrayRef{1, 2}).to(at::kCPU, at::kDouble);
  }
  return {at::cat(places, 1), loss / rows.size()};
}

bool better(const ProbeTrial& a, const ProbeTrial& b) {
  if (std::isfinite(a.loss) != std::isfinite(b.loss)) return std::isfinite(a.loss);
  return a.held_out.top1 != b.held_out.top1 ? a.held_out.top1 > b.held_out.top1 : a.loss < b.loss;
}

std::vector<ProbeTrial> try_rates(Training& training, const Rows& fit, const Rows& held_out,
                                  const std::vector<double>& peaks) {
  const Scores scores = score(training.run(fit, peaks), held_out);
  std::vector<ProbeTrial> trials;
  for (std::int64_t i = 0; i < std::ssize(peaks); ++i) {
    trials.push_back(
        {peaks[static_cast<std::size_t>(i)], accuracy_of(scores.places[i]), scores.loss[i].item<double>()});
  }
  return trials;
}

void validate(const ProbeConfig& config, std::int64_t rows) {
  check(config.epochs > 0 && config.warmup >= 0 && config.warmup < config.epochs,
        "linear.warmup: expected fewer epochs than linear.epochs = ", config.epochs, ", found ", config.warmup);
  check(!config.rates.empty(), "linear.rates: expected at least one learning rate, found none");
  for (const double rate : config.rates) check(rate > 0, "linear.rates: expected positive numbers, found ", rate);
  check(!config.batch || *config.batch >= 2, "linear.batch: batch norm needs at least 2 samples, found ",
        config.batch.value_or(0));
  check(rows >= 2, "the linear probe needs at least 2 training samples, found ", rows);
}

std::int64_t held_out_rows(const ProbeConfig& config, std::int64_t rows) {
  check(config.held_out > 0 && config.held_out < 1, "linear.held_out: expected a share in (0, 1), found ",
        config.held_out);
  const auto held = static_cast<std::int64_t>(std::llround(config.held_out * static_cast<double>(rows)));
  check(held >= 1 && rows - held >= 2, "the linear probe cannot hold out a share of ", config.held_out, " of ", rows,
        " training samples to choose the rate; give more data or a single one of linear.rates");
  return held;
}

}  // namespace

void ProbeConfig::fields(Fields& f) {
  f.table("optimizer", update, {.help = "how the heads are trained"});
  f.add("epochs", epochs, {.help = "passes over the training features", .min = 1, .max = 100000});
  f.add("warmup", warmup, {.help = "linear warm-up", .unit = "epochs", .min = 0});
  f.add("batch", batch, {.help = "features of one step; auto is a 32nd of them within 16 and 1024", .min = 2});
  f.add("rates", rates,
        {.help = "peak learning rates; the best on held-out training data is chosen", .min = 0, .above_min = true});
  f.add("held_out", held_out,
        {.help = "share of the training data on which the rate is chosen",
         .min = 0,
         .max = 1,
         .above_min = true,
         .below_max = true});
  f.add("seed", seed, {.help = "names weights, held-out samples and order"});
}

std::int64_t probe_batch(std::int64_t rows) { return std::min(rows, std::clamp<std::int64_t>(rows / 32, 16, 1024)); }

double probe_rate(double peak, double epoch, double warmup, double epochs) {
  if (epoch < warmup) return peak * epoch / warmup;
  return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * (epoch - warmup) / (epochs - warmup)));
}

ProbeResult linear_probe(const Features& train, const Features& val, const ProbeConfig& config,
                         const EvalProgress& progress) {
  check_comparable(train, val);
  const Rows rows = rows_of(train, config.device);
  validate(config, rows.size());
  const c10::InferenceMode no_graph;
  ProbeResult result{.batch = std::min(config.batch.value_or(probe_batch(rows.size())), rows.size()),
                     .train_samples = rows.size()};
  Training training(config, std::ssize(train.classes), result.batch, progress);

  result.rate = config.rates.front();
  training.expect_runs(config.rates.size() > 1 ? 2 : 1);
  if (config.rates.size() > 1) {
    result.held_out_samples = held_out_rows(config, rows.size());
    const auto order = shuffled(all_rows(rows.size()), Rng(config.seed, Purpose::kProbe, 0, kHeldOut));
    const auto split = order.begin() + result.held_out_samples;
    result.trials =
        try_rates(training, rows.pick({split, order.end()}), rows.pick({order.begin(), split}), config.rates);
    result.rate = std::min_element(result.trials.begin(), result.trials.end(), better)->rate;
  }
  const Scores scores = score(training.run(rows, {result.rate}), rows_of(val, config.device));
  check(std::isfinite(scores.loss[0].item<double>()), "the linear probe diverged at a rate of ", result.rate,
        "; add smaller linear.rates");
  result.accuracy = accuracy_of(scores.places[0]);
  return result;
}

}  // namespace lacuna
