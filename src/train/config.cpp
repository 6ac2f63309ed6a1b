#include "train/config.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr double kPublishedFloor = 1e-5 / 1.5e-3;  // cae.md section 5.1
constexpr double kScaleBatch = 256.0;

// Lengths of the schedule, in steps, with what they must fit.
void settle_schedule(Schedule& s, const ScheduleConfig& c, const std::function<int64_t(const Duration&)>& steps) {
  s.kind = c.kind;
  s.warmup_start = c.warmup_start_lr;
  s.warmup_ends = c.warmup_ends;
  s.lag = c.lag;
  s.drop_factor = c.drop_factor;
  s.cooldown = steps(c.cooldown);
  for (const Duration& drop : c.drops) s.drops.push_back(steps(drop));
  check(s.warmup_start <= s.peak, "train.warmup_start_lr: ", s.warmup_start, " is above the peak rate ", s.peak);
  const bool drops = s.kind == ScheduleKind::kDrops, cools = s.kind == ScheduleKind::kConstantCooldown;
  check(drops != s.drops.empty(),
        "train.drops: ", drops ? "a schedule of drops needs at least one" : "only read by train.schedule = \"drops\"");
  check(cools == (s.cooldown > 0), "train.cooldown: ",
        cools ? "a schedule with a cooldown needs its length" : "only read by train.schedule = \"constant_cooldown\"");
  check(s.warmup + s.cooldown <= s.total, "train.cooldown: ", s.cooldown, " steps after ", s.warmup,
        " steps of warm-up do not fit in a run of ", s.total);
  for (size_t i = 0; i < s.drops.size(); ++i) {
    check(s.drops[i] < s.total && s.drops[i] >= s.warmup && (i == 0 || s.drops[i - 1] < s.drops[i]),
          "train.drops: expected rising lengths after the warm-up (step ", s.warmup, ") and within the run (step ",
          s.total, "), found step ", s.drops[i]);
  }
}

}  // namespace

void ScheduleConfig::fields(Fields& f) {
  f.add("schedule", kind, kScheduleKinds, {.help = "the learning rate after the warm-up"});
  f.add("warmup_start_lr", warmup_start_lr, {.help = "learning rate that the warm-up starts from", .min = 0});
  f.add("warmup_ends", warmup_ends, kRampEnds,
        {.help = "step i of n in the warm-up, as a share of the way to the peak"});
  f.add("schedule_lag", lag,
        {.help = "each step takes the rate of the one before it: a schedule that is moved after the optimizer"});
  f.add("drops", drops,
        {.help = "when the rate drops (schedule = drops), from the start of the run", .bare = Duration::Unit::kEpochs});
  f.add("drop_factor", drop_factor,
        {.help = "what each drop multiplies the rate by", .min = 0, .max = 1, .above_min = true});
  f.add("cooldown", cooldown,
        {.help = "length of the line down to min_lr at the end (schedule = constant_cooldown)",
         .bare = Duration::Unit::kEpochs});
}

void TrainConfig::fields(Fields& f) {
  f.add("duration", duration,
        {.help = "length of the run: epochs, steps or samples",
         .aliases = {"epochs", "duration"},
         .bare = Duration::Unit::kEpochs});
  f.add(
      "batch_size", batch_size,
      {.help =
           "samples of one optimizer step, over all devices and accumulation; auto is 256, or less for a small source",
       .unit = "samples",
       .min = 1,
       .max = 1 << 20,
       .aliases = {"batch_size"}});
  f.add("accumulate", accumulate,
        {.help = "parts the batch is computed in, one after another, to save memory",
         .min = 1,
         .aliases = {"accum_iter"}});
  f.add("lr", lr,
        {.help = "peak learning rate; auto is base_lr * batch_size / 256",
         .min = 0,
         .above_min = true,
         .aliases = {"lr"}});
  f.add("base_lr", base_lr,
        {.help = "peak learning rate for a batch of 256", .min = 0, .above_min = true, .aliases = {"blr"}});
  f.add("min_lr", min_lr, {.help = "learning rate at the end; auto is peak / 150", .min = 0, .aliases = {"min_lr"}});
  f.add("warmup", warmup,
        {.help = "linear warm-up", .aliases = {"warmup", "warmup_epochs"}, .bare = Duration::Unit::kEpochs});
  schedule.fields(f);
  adamw.fields(f);
}

void TrainConfig::settle_batch_size(int64_t source_size) {
  if (batch_size) return;
  int64_t size = static_cast<int64_t>(kScaleBatch);
  while (size > 1 && size * 4 > source_size) size /= 2;
  batch_size = size;
}

double TrainConfig::peak_lr() const { return lr.value_or(base_lr * static_cast<double>(batch()) / kScaleBatch); }

double TrainConfig::floor_lr() const { return min_lr.value_or(peak_lr() * kPublishedFloor); }

void CheckpointConfig::fields(Fields& f) {
  f.add("every", every,
        {.help = "how often the state is saved", .on_resume = kMayChange, .bare = Duration::Unit::kEpochs});
  f.add("keep_last", keep_last, {.help = "newest checkpoints that are kept", .min = 1, .on_resume = kMayChange});
  f.add("keep_every", keep_every,
        {.help = "checkpoints at multiples of this are kept for good; 0 keeps none",
         .on_resume = kMayChange,
         .bare = Duration::Unit::kSteps});
}

void LogConfig::fields(Fields& f) {
  f.add("every", every,
        {.help = "how often a record is written to metrics.jsonl; auto is 200 records a run, at least one per 50 steps",
         .on_resume = kMayChange,
         .bare = Duration::Unit::kSteps});
  f.add("health_every", health_every,
        {.help = "how often cosine, variance and rank are measured; auto is 40 times a run",
         .on_resume = kMayChange,
         .bare = Duration::Unit::kSteps});
  f.add(
      "pictures", pictures,
      {.help = "how often pictures are drawn; 0 draws none", .on_resume = kMayChange, .bare = Duration::Unit::kSteps});
}

Plan make_plan(const TrainConfig& train, const CheckpointConfig& checkpoint, const LogConfig& log,
               int64_t steps_per_epoch) {
  check(train.duration.unit != Duration::Unit::kPercent && train.duration.amount > 0,
        "train.duration: expected a length such as \"300 epochs\" or \"10000 steps\", found ", train.duration.str());
  check(train.batch() % train.accumulate == 0, "train.accumulate: a batch of ", train.batch(), " cannot be cut into ",
        train.accumulate, " equal parts");
  Plan plan;
  plan.steps_per_epoch = steps_per_epoch;
  plan.total = train.duration.resolve(steps_per_epoch, train.batch(), 0);
  const auto steps = [&](const Duration& d) { return d.resolve(steps_per_epoch, train.batch(), plan.total); };
  plan.schedule = {
      .peak = train.peak_lr(), .floor = train.floor_lr(), .warmup = steps(train.warmup), .total = plan.total};
  check(plan.schedule.warmup < plan.total, "train.warmup: ", plan.schedule.warmup, " steps of warm-up in a run of ",
        plan.total, " steps; shorten the warm-up or lengthen the run");
  settle_schedule(plan.schedule, train.schedule, steps);
  check(plan.schedule.floor <= plan.schedule.peak, "train.min_lr: ", plan.schedule.floor, " is above the peak rate ",
        plan.schedule.peak);
  plan.checkpoint_every = std::max<int64_t>(1, steps(checkpoint.every));
  plan.keep_every = steps(checkpoint.keep_every);
  plan.log_every = log.every ? std::max<int64_t>(1, steps(*log.every)) : std::clamp<int64_t>(plan.total / 200, 1, 50);
  plan.health_every =
      log.health_every ? std::max<int64_t>(1, steps(*log.health_every)) : std::clamp<int64_t>(plan.total / 40, 1, 500);
  plan.pictures_every = steps(log.pictures);
  return plan;
}

}  // namespace lacuna
