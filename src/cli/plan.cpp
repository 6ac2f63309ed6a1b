#include <chrono>
#include <iostream>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "io/files.h"
#include "train/batch.h"

namespace lacuna {
namespace {

constexpr int kWarmSteps = 2;
constexpr int kTimedSteps = 3;

uint64_t checkpoint_bytes(Run& run) {
  uint64_t bytes = 0;
  for (const auto& parameter : run.method->module().parameters())
    bytes += 3 * parameter.nbytes();  // weights and two moments
  return bytes;
}

// Seconds of one optimizer step, measured on real batches; nothing is kept.
double time_steps(Run& run, std::ostream& out) {
  run.loader->start(0);
  AdamW optimizer(named_tensors(run.method->module()), run.config.recipe.train.adamw);
  double seconds = 0;
  for (int i = 0; i < kWarmSteps + kTimedSteps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const Batch batch = to_device(run.loader->next(), run.method->views(), run.device);
    optimizer.zero_grad();
    at::Tensor total;
    {
      const AutocastScope autocast(run.device.type(), run.bf16);
      total = run.method->losses(batch, {.seed = run.config.seed, .step = i}).total;
    }
    total.backward();
    optimizer.step(0.0);
    if (i == kWarmSteps - 1) out << "loss of the first step " << total.item<double>() << "\n";
    if (i >= kWarmSteps) seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return seconds / kTimedSteps;
}

}  // namespace

int plan_command(Arguments arguments) {
  RunConfig config = parse_run(arguments);
  make_paths_absolute(config);
  check(config.recipe.train.accumulate == 1 || config.recipe.train.batch_size,
        "plan: train.accumulate needs a batch size");
  Run run = assemble(config, {.evaluation = true});
  start_from_init(run);
  print_plan(run, std::cout);
  std::cout << "timing " << kTimedSteps << " steps …" << std::endl;
  const double step = time_steps(run, std::cout);
  const uint64_t checkpoint = checkpoint_bytes(run);
  const int64_t kept =
      config.checkpoint.keep_last + (run.plan.keep_every > 0 ? run.plan.total / run.plan.keep_every : 0);
  const std::filesystem::path disk = run.config.out.empty() ? "." : run.config.out;
  std::cout << "\nspeed       " << static_cast<double>(run.config.recipe.train.batch()) / step << " img/s, "
            << human_duration(step) << " a step\n"
            << "one epoch   " << human_duration(step * static_cast<double>(run.plan.steps_per_epoch)) << "\n"
            << "whole run   " << human_duration(step * static_cast<double>(run.plan.total)) << "\n"
            << "memory      " << human_bytes(peak_memory()) << " at the peak so far\n"
            << "checkpoints " << human_bytes(checkpoint) << " each, up to " << kept + 1 << " at a time ("
            << human_bytes(static_cast<uint64_t>(kept + 1) * checkpoint) << "); the disk has "
            << human_bytes(free_bytes(disk)) << " free\n\nconfiguration (lacuna pretrain runs it as a recipe):\n\n"
            << to_toml(run.config) << std::flush;
  return 0;
}

}  // namespace lacuna
