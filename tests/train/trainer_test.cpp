// The loop, with a task of a few numbers.

#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
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
  void after_step(const StepContext&) override { memory += 0.01; }
  NamedTensors extra_state() override { return {{"memory", memory}}; }

  at::Tensor memory = at::zeros({1});
  std::vector<int64_t> parts, diagnosed;

 private:
  torch::nn::Module module_;
  int64_t diverges_at_;
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
