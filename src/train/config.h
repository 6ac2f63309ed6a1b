#pragma once
// How a run is trained, whatever it trains.

#include <optional>
#include <vector>

#include "base/duration.h"
#include "train/optimizer.h"
#include "train/precision.h"
#include "train/schedule.h"

namespace lacuna {

// What follows the warm-up, and how the warm-up itself is counted. See Schedule.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kCosine;
  double warmup_start_lr = 0;
  RampEnds warmup_ends = RampEnds::kBoth;
  bool lag = false;
  std::vector<Duration> drops;
  double drop_factor = 0.1;
  Duration cooldown{0, Duration::Unit::kEpochs};

  void fields(Fields& f);
};

struct TrainConfig {
  Duration duration{300, Duration::Unit::kEpochs};
  std::optional<int64_t> batch_size;  // samples of one optimizer step; settled by settle_batch_size
  int64_t accumulate = 1;             // parts a batch is computed in
  std::optional<double> lr;           // peak, absolute
  double base_lr = 1.5e-4;            // peak for 256 samples, scaled by batch_size / 256
  std::optional<double> min_lr;
  Duration warmup{5, Duration::Unit::kPercent};
  ScheduleConfig schedule;
  AdamWConfig adamw;

  void fields(Fields& f);

  // Settles an open batch size: 256, or for small sources the largest power of two that an epoch holds four times.
  void settle_batch_size(int64_t source_size);
  int64_t batch() const { return batch_size.value(); }
  double peak_lr() const;
  double floor_lr() const;  // min_lr, else the peak times 1e-5 / 1.5e-3, the published ratio
};

struct CheckpointConfig {
  Duration every{5, Duration::Unit::kPercent};
  int64_t keep_last = 2;
  Duration keep_every{0, Duration::Unit::kSteps};

  void fields(Fields& f);
};

struct LogConfig {
  std::optional<Duration> every;
  std::optional<Duration> health_every;
  Duration pictures{20, Duration::Unit::kPercent};

  void fields(Fields& f);
};

// Durations turned into steps.
struct Plan {
  int64_t total = 0;
  int64_t steps_per_epoch = 0;
  Schedule schedule;
  int64_t checkpoint_every = 0, keep_every = 0;
  int64_t log_every = 0, health_every = 0, pictures_every = 0;
};

Plan make_plan(const TrainConfig& train, const CheckpointConfig& checkpoint, const LogConfig& log,
               int64_t steps_per_epoch);

}  // namespace lacuna
