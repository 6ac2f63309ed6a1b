#include "train/trainer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/signals.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kClosing = "closing";  // key of the records that are written at the end of a run

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string number(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

NamedTensors trained(Task& task) { return named_tensors(task.module()); }

// A part of the batch, for accumulation; views share memory.
Batch part_of(const Batch& batch, int64_t part, int64_t parts) {
  if (parts == 1) return batch;
  const int64_t size = batch.size() / parts, begin = part * size, end = begin + size;
  const auto cut = [&](const auto& list) {
    return list.empty() ? list : std::decay_t<decltype(list)>(list.begin() + begin, list.begin() + end);
  };
  Batch out{.views = {},
            .ids = cut(batch.ids),
            .labels = cut(batch.labels),
            .captions = cut(batch.captions),
            .epoch = batch.epoch};
  for (const at::Tensor& view : batch.views) out.views.push_back(view.slice(0, begin, end));
  return out;
}

// `what` they are, for the message: "the model".
void copy_named(const NamedTensors& from, const NamedTensors& to, const char* what,
                const std::filesystem::path& where) {
  const at::NoGradGuard no_grad;
  check(from.size() == to.size(), where.string(), ": holds ", from.size(), " tensors of ", what,
        ", but this configuration has ", to.size());
  for (const auto& [name, tensor] : to) {
    const at::Tensor* source = find(from, name);
    check(source != nullptr && source->sizes() == tensor.sizes(), where.string(), ": tensor '", name,
          "' is missing or has another shape than ", shape_text(tensor));
    at::Tensor(tensor).copy_(*source);
  }
}

}  // namespace

Trainer::Trainer(Task& task, Loader& loader, TrainerSetup setup, std::vector<ScheduledEvaluator> evaluators,
                 std::ostream& out)
    : task_(task),
      loader_(loader),
      setup_(std::move(setup)),
      optimizer_(trained(task), setup_.adamw, setup_.lr_scale),
      checkpoints_(setup_.out / "checkpoints", {.last = setup_.checkpoint.keep_last, .every = setup_.plan.keep_every}),
      evaluators_(std::move(evaluators)),
      progress_(out, progress_style(STDERR_FILENO)),
      records_(setup_.out / "metrics.jsonl"),
      tensorboard_(setup_.out / "tensorboard", static_cast<std::uint64_t>(std::time(nullptr))),
      health_watch_(setup_.plan.schedule.warmup) {}

Trainer::~Trainer() = default;

void Trainer::restore(const Snapshot& snapshot) {
  copy_named(snapshot.tensors("model."), trained(task_), "the model", snapshot.folder());
  copy_named(snapshot.tensors("extra."), task_.extra_state(), "the method's own state", snapshot.folder());
  optimizer_.load_state(snapshot.tensors("optimizer."));
  step_ = saved_step_ = skipped_checked_ = snapshot.step();
  saved_hash_ = snapshot.state().at("tensors").at("hash").get<std::string>();
}

RunEnd Trainer::run() {
  started_ = Clock::now();
  started_step_ = step_;
  forget_records_beyond_step();
  loader_.start(step_);
  while (step_ < setup_.plan.total && stop_signal() == 0) {
    train_step();
    if (due(setup_.plan.log_every)) record();
    if (progress_.due()) report();
    if (step_ < setup_.plan.total) evaluate(/*at_end=*/false);
    if (due(setup_.plan.checkpoint_every)) save();
  }
  if (saved_step_ != step_) save();
  if (reported_step_ != step_) report();
  progress_.finish();
  if (step_ < setup_.plan.total) return RunEnd::kInterrupted;
  last_evaluation_.clear();
  evaluate(/*at_end=*/true);
  return RunEnd::kDone;
}

// Of a process that went further, or to the end, before it was stopped; they come again.
void Trainer::forget_records_beyond_step() {
  records_.truncate_after("step", step_);
  records_.truncate_after(kClosing, 0);
  tensorboard_.resume(step_);
}

void Trainer::train_step() {
  auto mark = Clock::now();
  const auto lap = [&mark](double& total) {
    total += seconds_since(mark);
    mark = Clock::now();
  };
  const Batch batch = to_device(loader_.next(), task_.views(), setup_.device);
  lap(times_.data);
  const StepContext context{.seed = setup_.seed,
                            .step = step_,
                            .progress = static_cast<double>(step_) / static_cast<double>(setup_.plan.total),
                            .training = true,
                            .diagnose = (step_ + 1) % setup_.plan.health_every == 0,
                            .total_steps = setup_.plan.total,
                            .steps_per_epoch = setup_.plan.steps_per_epoch,
                            .lr = setup_.plan.schedule.at(step_)};
  optimizer_.zero_grad();
  for (int64_t i = 0; i < setup_.accumulate; ++i) {
    Losses losses;
    {
      const AutocastScope autocast(setup_.device.type(), setup_.bf16);
      losses = task_.losses(part_of(batch, i, setup_.accumulate), context);
    }
    lap(times_.forward);
    (losses.total / static_cast<double>(setup_.accumulate)).backward();
    lap(times_.backward);
    for (Meter* meter : {&record_meter_, &screen_meter_}) {
      meter->add("loss", losses.total);
      for (const auto& [name, value] : losses.terms) meter->add(name, value);
    }
    for (const auto& [name, value] : losses.health) health_meter_.add(name, value);
  }
  task_.before_update(context);
  const at::Tensor norm = optimizer_.step(context.lr, setup_.adamw.weight_decay_at(step_, setup_.plan.total));
  record_meter_.add("grad_norm", norm);
  ++step_;
  task_.after_step(context);
  lap(times_.optimizer);
}

void Trainer::check_finite() {
  const double skipped = optimizer_.skipped().item<double>();
  const int64_t steps = step_ - skipped_checked_;
  if (skipped > skipped_seen_) {
    progress_.note(text("step ", step_, ": ", skipped - skipped_seen_, " of the last ", steps,
                        " steps had a gradient that is not finite and were left out"));
    check(steps < 10 || skipped - skipped_seen_ < static_cast<double>(steps), "training diverged: no step since ",
          skipped_checked_, " had a finite gradient; lower the learning rate (lr=", setup_.plan.schedule.peak / 2,
          ") and start again from an earlier checkpoint");
  }
  skipped_seen_ = skipped;
  skipped_checked_ = step_;
}

void Trainer::record() {
  nlohmann::json line = {{"step", step_},
                         {"epoch", static_cast<double>(step_) / static_cast<double>(setup_.plan.steps_per_epoch)},
                         {"lr", setup_.plan.schedule.at(step_ - 1)}};
  const auto write = [&](const std::vector<Metric>& metrics) {
    for (const Metric& metric : metrics) {
      line[metric.name] = metric.value;
      tensorboard_.scalar(metric.name, step_, metric.value);
    }
  };
  write(record_meter_.take());
  if (setup_.adamw.weight_decay_end)
    write({{"weight_decay", setup_.adamw.weight_decay_at(step_ - 1, setup_.plan.total)}});
  const std::vector<Metric> health = health_meter_.take();
  write(health);
  tensorboard_.scalar("lr", step_, line["lr"].get<double>());
  records_.append(line);
  for (const std::string& warning : health_watch_.look(step_, health)) progress_.note(warning);
  check_finite();
}

void Trainer::report() {
  reported_step_ = step_;
  const double elapsed = seconds_since(started_);
  const auto done = static_cast<double>(step_ - started_step_);
  const double rate = done / std::max(elapsed, 1e-9);
  std::string line =
      text("step ", step_, "/", setup_.plan.total, "  epoch ",
           number("%.2f", static_cast<double>(step_) / static_cast<double>(setup_.plan.steps_per_epoch)));
  for (const Metric& metric : screen_meter_.take()) line += text("  ", metric.name, " ", number("%.4f", metric.value));
  line += text("  lr ", number("%.2e", setup_.plan.schedule.at(std::max<int64_t>(0, step_ - 1))), "  ",
               number("%.1f", rate * static_cast<double>(loader_.batch_size())), " img/s  data ",
               number("%.0f", 100.0 * loader_.waited_seconds() / std::max(elapsed, 1e-9)), " %  ETA ",
               human_duration(static_cast<double>(setup_.plan.total - step_) / std::max(rate, 1e-9)), "  mem ",
               human_bytes(peak_memory()));
  progress_.show(line, static_cast<double>(step_) / static_cast<double>(setup_.plan.total));
}

void Trainer::save() {
  NamedTensors tensors;
  for (auto& [name, tensor] : trained(task_)) tensors.emplace_back("model." + name, tensor);
  for (auto& [name, tensor] : task_.extra_state()) tensors.emplace_back("extra." + name, tensor);
  for (auto& [name, tensor] : optimizer_.state()) tensors.emplace_back("optimizer." + name, tensor);
  saved_hash_ =
      checkpoints_.save(step_, tensors, setup_.describe_run ? setup_.describe_run() : nlohmann::json::object());
  saved_step_ = step_;
  tensorboard_.flush();
}

void Trainer::evaluate(bool at_end) {
  for (const ScheduledEvaluator& scheduled : evaluators_) {
    if (at_end ? !scheduled.at_end : !due(scheduled.every)) continue;
    nlohmann::json line = {{"step", step_}, {"evaluator", scheduled.evaluator->name()}};
    if (at_end) line[kClosing] = 1;
    std::string shown;
    for (const Metric& metric : scheduled.evaluator->run(step_)) {
      line[metric.name] = metric.value;
      tensorboard_.scalar(metric.name, step_, metric.value);
      shown += text("  ", metric.name, " ", number("%.3f", metric.value));
      last_evaluation_.push_back(metric);
    }
    if (shown.empty()) continue;
    records_.append(line);
    progress_.note(text("step ", step_, "  ", scheduled.evaluator->name(), shown));
  }
}

uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace lacuna
