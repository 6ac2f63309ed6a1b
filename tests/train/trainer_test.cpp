// The loop, with a task of a few numbers.

#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/signals.h"
#include "io/files.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

class GraySource : public Source {
 public:
  std::int64_t size() const override { return 12; }
  std::string name(std::int64_t index) const override { return text("gray:", index); }
  Image image(std::int64_t index) const override {
    Image out(8, 8);
    std::fill(out.pixels.begin(), out.pixels.end(), static_cast<std::uint8_t>(200 + 2 * index));
    return out;
  }
  std::int64_t label(std::int64_t) const override { return kNoLabel; }
  std::string caption(std::int64_t, Rng&) const override { return ""; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return 1; }

 private:
  std::vector<std::string> classes_;
};

// Learns the mean brightness. `memory` is state outside the module that a resume needs; from `diverges_at` on there is
// no finite gradient.
class MeanTask : public Task {
 public:
  explicit MeanTask(int64_t diverges_at = -1) : diverges_at_(diverges_at) {
    module_.register_parameter("w", at::zeros({3}));
  }
  torch::nn::Module& module() override { return module_; }
  std::vector<ViewSpec> views() const override {
    return {{.side = 8, .kernel = Kernel::kBicubic, .stats = kImageNetStats}};
  }
  Losses losses(const Batch& batch, const StepContext& context) override {
    parts.push_back(batch.size());
    if (context.diagnose) diagnosed.push_back(context.step);
    at::Tensor total = (module_.parameters()[0] + memory - batch.views[0].mean({0, 2, 3})).square().sum();
    if (diverges_at_ >= 0 && context.step >= diverges_at_) total = total * NAN;
    return {.total = total, .terms = {}, .health = {}};
  }
  void before_update(const StepContext& context) override {
    gradients_seen += module_.parameters()[0].grad().defined();
    before.push_back(context);
    weight_before_ = module_.parameters()[0].detach().clone();
  }
  void after_step(const StepContext& context) override {
    memory += 0.01;
    after.push_back(context);
    moved += !module_.parameters()[0].detach().equal(weight_before_);
  }
  NamedTensors extra_state() override { return {{"memory", memory}}; }

  at::Tensor memory = at::zeros({1});
  std::vector<int64_t> parts, diagnosed;
  std::vector<StepContext> before, after;
  int64_t gradients_seen = 0, moved = 0;

 private:
  torch::nn::Module module_;
  at::Tensor weight_before_;
  int64_t diverges_at_;
};

// Has a parameter "late" that keeps still for the first epoch, and a good deal of state of its own.
class LateTask : public MeanTask {
 public:
  LateTask() {
    late_ = module().register_parameter("late", at::ones({2, 2}));
    for (int i = 0; i < 300; ++i) copies_.emplace_back(text("copy.", i), at::full({4}, static_cast<double>(i)));
  }
  Losses losses(const Batch& batch, const StepContext& context) override {
    Losses out = MeanTask::losses(batch, context);
    out.total = out.total + late_.square().sum();
    return out;
  }
  void before_update(const StepContext& context) override {
    if (context.epoch() == 0) late_.mutable_grad().reset();
  }
  void after_step(const StepContext& context) override {
    for (auto& [name, copy] : copies_) copy.add_(static_cast<double>(context.step));
    seen.push_back(late_.detach()[0][0].item<double>());
  }
  NamedTensors extra_state() override { return copies_; }

  std::vector<double> seen;  // the parameter after each step

 private:
  at::Tensor late_;
  NamedTensors copies_;
};

class Counter : public Evaluator {
 public:
  explicit Counter(std::vector<int64_t>& steps) : steps_(steps) {}
  std::string name() const override { return "counter"; }
  std::vector<Metric> run(int64_t step) override {
    steps_.push_back(step);
    return {{"count", static_cast<double>(steps_.size())}};
  }

 private:
  std::vector<int64_t>& steps_;
};

struct Setting {
  int64_t total = 12, accumulate = 1, checkpoint_every = 4, log_every = 1, diverges_at = -1;
  std::optional<double> weight_decay_end = {};
};

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override { install_stop_signals(); }

  // One process's share of a run: from the newest checkpoint, if there is one, for at most `steps` steps.
  struct Outcome {
    RunEnd end;
    std::string hash;
    int64_t step;
  };
  Outcome train(const std::string& name, const Setting& s, MeanTask& task, int64_t steps = 1000) {
    const GraySource source;
    const std::filesystem::path out = folder_ / name;
    std::filesystem::create_directories(out);
    Loader loader(source, task.views(), {}, {.batch_size = 4, .threads = 1}, {});
    const Plan plan{.total = s.total,
                    .steps_per_epoch = loader.steps_per_epoch(),
                    .schedule = {.peak = 0.1, .floor = 0, .warmup = 0, .total = s.total},
                    .checkpoint_every = s.checkpoint_every,
                    .log_every = s.log_every,
                    .health_every = 5};
    std::vector<ScheduledEvaluator> evaluators;
    evaluators.push_back({.evaluator = std::make_unique<Counter>(evaluated_), .every = 6});
    TrainerSetup setup{.out = out, .plan = plan, .accumulate = s.accumulate};
    setup.adamw.clip = 1e9;
    setup.adamw.weight_decay_end = s.weight_decay_end;
    Trainer trainer(task, loader, std::move(setup), std::move(evaluators), progress_);
    if (const auto snapshot = Checkpoints(out / "checkpoints", {}).newest()) trainer.restore(*snapshot);
    if (steps < 1000) {  // a process that dies: steps are taken, nothing is saved
      loader.start(trainer.step());
      for (int64_t i = 0; i < steps; ++i) trainer.train_step();
      return {RunEnd::kInterrupted, "", trainer.step()};
    }
    const RunEnd end = trainer.run();
    return {end, trainer.weights_hash(), trainer.step()};
  }

  std::vector<nlohmann::json> records(const std::string& name) const {
    std::istringstream lines(read_file(folder_ / name / "metrics.jsonl", 1 << 20));
    std::vector<nlohmann::json> out;
    for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
    return out;
  }

  testing::TemporaryFolder folder_;
  std::vector<int64_t> evaluated_;
  std::ostringstream progress_;
};

TEST_F(TrainerTest, SavesEvaluatesAndDiagnosesWhenDue) {
  MeanTask task;
  const Outcome outcome = train("run", {}, task);
  EXPECT_EQ(outcome.end, RunEnd::kDone);
  EXPECT_EQ(outcome.step, 12);
  EXPECT_EQ(Checkpoints(folder_ / "run/checkpoints", {}).steps(), (std::vector<int64_t>{8, 12}));
  EXPECT_EQ(evaluated_, (std::vector<int64_t>{6, 12})) << "not twice at the end";
  EXPECT_EQ(task.diagnosed, (std::vector<int64_t>{4, 9})) << "the steps that become numbers 5 and 10";
  const auto all = records("run");
  ASSERT_EQ(all.size(), 14u);
  EXPECT_LT(all[12]["loss"].get<double>(), all[0]["loss"].get<double>());
  EXPECT_EQ(all[13]["evaluator"], "counter");
}

TEST_F(TrainerTest, AResumeGoesOnWithTheSameBitsAndTheExtraState) {
  MeanTask whole, first, second;
  const std::string wanted = train("whole", {}, whole).hash;
  Setting half;
  half.total = 12;
  half.checkpoint_every = 5;
  train("broken", half, first, 0);
  ::raise(SIGTERM);
  EXPECT_EQ(train("broken", half, first).end, RunEnd::kInterrupted);
  install_stop_signals();
  const Outcome outcome = train("broken", half, second);
  EXPECT_EQ(outcome.end, RunEnd::kDone);
  EXPECT_EQ(outcome.hash, wanted);
  EXPECT_TRUE(at::equal(second.memory, whole.memory));
}

TEST_F(TrainerTest, TellsTheTaskWhereTheRunIsAroundEveryUpdate) {
  MeanTask task;
  Setting s;
  s.accumulate = 2;
  train("run", s, task);
  ASSERT_EQ(task.before.size(), 12u) << "once a step, however many parts";
  ASSERT_EQ(task.after.size(), 12u);
  EXPECT_EQ(task.gradients_seen, 12);
  EXPECT_EQ(task.moved, 12);
  const Schedule schedule{.peak = 0.1, .floor = 0, .warmup = 0, .total = 12};
  for (int64_t step = 0; step < 12; ++step) {
    for (const StepContext& context : {task.before[static_cast<size_t>(step)], task.after[static_cast<size_t>(step)]}) {
      EXPECT_EQ(context.step, step);
      EXPECT_EQ(context.total_steps, 12);
      EXPECT_EQ(context.steps_per_epoch, 3);
      EXPECT_EQ(context.epoch(), step / 3);
      EXPECT_EQ(context.lr, schedule.at(step));
      EXPECT_EQ(context.progress, static_cast<double>(step) / 12);
    }
  }
}

TEST_F(TrainerTest, AGradientThatIsResetKeepsItsParameterOutOfTheStep) {
  LateTask whole, first, second;
  const std::string wanted = train("whole", {}, whole).hash;
  ASSERT_EQ(whole.seen.size(), 12u);
  EXPECT_EQ(std::vector<double>(whole.seen.begin(), whole.seen.begin() + 3), std::vector<double>(3, 1.0))
      << "the first epoch: not even decayed";
  EXPECT_LT(whole.seen[3], 1.0);
  const Snapshot last = Checkpoints(folder_ / "whole/checkpoints", {}).newest().value();
  const NamedTensors state = last.tensors("optimizer.");
  EXPECT_EQ(find(state, "late.step")->item<float>(), 9) << "its own count of steps";
  EXPECT_EQ(find(state, "w.step")->item<float>(), 12);

  // A resume from within the first epoch, with no moments of "late" and three hundred tensors of the task's own.
  Setting early;
  early.checkpoint_every = 2;
  ::raise(SIGTERM);
  EXPECT_LT(train("broken", early, first).step, 3);
  install_stop_signals();
  EXPECT_EQ(train("broken", early, second).hash, wanted);
  const NamedTensors copies = second.extra_state(), expected = whole.extra_state();
  for (size_t i = 0; i < copies.size(); ++i) EXPECT_TRUE(copies[i].second.equal(expected[i].second)) << copies[i].first;
}

TEST_F(TrainerTest, AWeightDecayThatMovesReachesTheOptimizer) {
  LateTask task;
  Setting s;
  s.weight_decay_end = 10;
  train("run", s, task);
  const AdamWConfig config{.clip = 0, .weight_decay_end = 10};
  const at::Tensor late = at::ones({2, 2}).set_requires_grad(true);
  AdamW optimizer({{"late", late}}, config);
  const Schedule schedule{.peak = 0.1, .floor = 0, .warmup = 0, .total = 12};
  for (int64_t step = 3; step < 12; ++step) {
    late.mutable_grad() = 2 * late.detach();
    optimizer.step(schedule.at(step), config.weight_decay_at(step, 12));
    EXPECT_NEAR(task.seen.at(static_cast<size_t>(step)), late.detach()[0][0].item<double>(), 1e-6) << "step " << step;
  }
}

TEST_F(TrainerTest, AWeightDecayThatMovesIsRecorded) {
  MeanTask task;
  Setting s;
  s.weight_decay_end = 0.4;
  train("run", s, task);
  train("constant", {}, task);
  auto moving = records("run");
  std::erase_if(moving, [](const nlohmann::json& line) { return line.contains("evaluator"); });
  const auto constant = records("constant");
  EXPECT_DOUBLE_EQ(moving[0].at("weight_decay"), 0.05);
  EXPECT_DOUBLE_EQ(moving[6].at("weight_decay"), 0.225) << "half way";
  EXPECT_FALSE(constant[0].contains("weight_decay"));
}

TEST_F(TrainerTest, ASignalStopsAfterTheStepAndSaves) {
  MeanTask task;
  ::raise(SIGUSR1);
  const Outcome outcome = train("run", {}, task);
  install_stop_signals();
  EXPECT_EQ(outcome.end, RunEnd::kInterrupted);
  EXPECT_EQ(Checkpoints(folder_ / "run/checkpoints", {}).steps(), std::vector<int64_t>{outcome.step});
  EXPECT_TRUE(evaluated_.empty());
}

TEST_F(TrainerTest, PartsOfABatchGiveTheGradientOfTheWhole) {
  MeanTask whole, parts;
  Setting s;
  train("whole", s, whole);
  s.accumulate = 2;
  train("parts", s, parts);
  EXPECT_EQ(parts.parts, std::vector<int64_t>(24, 2));
  EXPECT_GT(whole.module().parameters()[0].abs().min().item<double>(), 0.1) << "it moved";
  // The loss is not linear in the mean, so the parts' losses differ, but the gradient is.
  EXPECT_TRUE(at::allclose(whole.module().parameters()[0], parts.module().parameters()[0], 1e-5, 1e-6));
}

TEST_F(TrainerTest, ADivergedRunEndsWithAWordAboutTheRate) {
  MeanTask task(2);
  Setting s;
  s.total = 100;
  s.log_every = 20;
  try {
    train("run", s, task);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("lower the learning rate"), std::string::npos) << error.what();
  }
  EXPECT_NE(progress_.str().find("18 of the last 20 steps had a gradient that is not finite"), std::string::npos)
      << progress_.str();
}

TEST_F(TrainerTest, ASnapshotOfAnotherModelIsRefused) {
  const GraySource source;
  Checkpoints(folder_ / "run/checkpoints", {})
      .save(3, {{"model.other", at::ones({3})}, {"extra.memory", at::ones({1})}}, nlohmann::json::object());
  MeanTask task;
  try {
    train("run", {}, task);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tensor 'w' is missing"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lacuna
