// `lacuna trace`: some steps of any configuration, with everything that another implementation needs to be compared
// with it, in one safetensors file. The names are a contract: docs/trace.md.

#include <cmath>
#include <iostream>
#include <map>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "cli/version.h"
#include "io/files.h"
#include "train/batch.h"

namespace lacuna {
namespace {

struct TraceConfig {
  int steps = 3;
  bool weights = true;
  bool gradients = true;

  void fields(Fields& f) {
    f.add("steps", steps, {.help = "optimizer steps", .min = 1, .max = 1000});
    f.add("weights", weights,
          {.help = "the weights before the first step, so that another program can start from them"});
    f.add("gradients", gradients, {.help = "whole gradients; else their sums only"});
  }
};

struct TraceRun {
  RunConfig run;
  TraceConfig trace;
  std::string out;
};

// trace.KEY settings and out= are ours, all else is the run's.
TraceRun parse_trace(Arguments arguments) {
  TraceRun parsed;
  std::vector<std::string> run, own;
  for (const std::string& argument : arguments) {
    if (argument.starts_with("trace.")) {
      own.push_back(argument.substr(6));
    } else {
      run.push_back(argument);
    }
  }
  Settings settings;
  settings.override_with(own);
  apply(settings, parsed.trace);
  parsed.run = parse_run(run);
  parsed.out = parsed.run.out;
  check(parsed.out.ends_with(".safetensors"), "out: expected the file to write, out=FILE.safetensors, found '",
        parsed.out, "'");
  parsed.run.out.clear();
  make_paths_absolute(parsed.run);
  return parsed;
}

// [sum, sum of squares, sum of x_i w_i] in float64 over the values in row-major order, w_i = ((7919 i) mod 1009) / 1009
// - 1/2: the last one changes when values change places.
at::Tensor sums(const at::Tensor& tensor) {
  const at::Tensor x = tensor.detach().to(at::kCPU, at::kDouble).flatten();
  const at::Tensor weight = (at::arange(x.numel(), at::kLong) * 7919).remainder(1009).to(at::kDouble) / 1009 - 0.5;
  return at::stack({x.sum(), x.square().sum(), (x * weight).sum()});
}

class Trace {
 public:
  void add(const std::string& name, const at::Tensor& value) {
    if (!value.defined()) return;
    // A copy at this moment: what is traced may be changed in place later.
    const at::Tensor copy = value.detach().to(at::kCPU).clone().contiguous();
    const bool fresh = names_.emplace(name, tensors_.size()).second;
    invariant(fresh, "the trace holds ", name, " twice");
    tensors_.emplace_back(name, copy);
  }
  void write(const std::filesystem::path& path, const std::map<std::string, std::string>& about) const {
    std::vector<at::Tensor> keep;
    write_safetensors(path, to_views(tensors_, keep), about);
  }
  size_t size() const { return tensors_.size(); }

 private:
  NamedTensors tensors_;
  std::map<std::string, size_t> names_;
};

void add_batch(Trace& trace, const std::string& step, const Batch& batch) {
  trace.add(step + "samples", torch::tensor(batch.ids, at::kLong));
  for (size_t i = 0; i < batch.views.size(); ++i) trace.add(text(step, "view", i), batch.views[i]);
}

void add_each(Trace& trace, const std::string& prefix, const NamedTensors& tensors, bool whole) {
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    if (whole) trace.add(prefix + name, tensor);
    trace.add(prefix + "sums." + name, sums(tensor));
  }
}

NamedTensors gradients(const NamedTensors& parameters) {
  NamedTensors out;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) out.emplace_back(name, parameter.grad());
  }
  return out;
}

void trace_step(Trace& trace, Run& run, const TraceConfig& config, AdamW& optimizer, const NamedTensors& parameters,
                int64_t number) {
  const std::string step = text("step", number, ".");
  const AdamWConfig& adamw = run.config.recipe.train.adamw;
  const Batch batch = to_device(run.loader->next(), run.method->views(), run.device);
  add_batch(trace, step, batch);
  const StepContext context{
      .seed = run.config.seed,
      .step = number,
      .progress = static_cast<double>(number) / static_cast<double>(run.plan.total),
      .total_steps = run.plan.total,
      .steps_per_epoch = run.plan.steps_per_epoch,
      .lr = run.plan.schedule.at(number),
      .tell = [&](const std::string& name, const at::Tensor& value) { trace.add(step + name, value); }};
  optimizer.zero_grad();
  Losses losses;
  {
    const AutocastScope autocast(run.device.type(), run.bf16);
    losses = run.method->losses(batch, context);
  }
  losses.total.backward();
  trace.add(step + "loss", losses.total);
  for (const auto& [name, value] : losses.terms) trace.add(step + "loss." + name, value);
  run.method->before_update(context);
  add_each(trace, step + "grad.", gradients(parameters), config.gradients);
  trace.add(step + "lr", at::scalar_tensor(context.lr, at::kDouble));
  trace.add(step + "grad_norm", optimizer.step(context.lr, adamw.weight_decay_at(number, run.plan.total)));
  run.method->after_step(context);
  add_each(trace, step + "param.", parameters, /*whole=*/false);
  add_each(trace, step + "state.", run.method->extra_state(), /*whole=*/false);
  std::printf("step %lld  loss %.9g\n", static_cast<long long>(number), losses.total.item<double>());
}

}  // namespace

std::string trace_keys() { return describe(TraceConfig{}); }

int trace_command(Arguments arguments) {
  const TraceRun parsed = parse_trace(arguments);
  Run run = assemble(parsed.run, {});
  start_from_init(run);
  check(run.config.recipe.train.accumulate == 1, "trace: a step is traced whole; leave train.accumulate at 1");
  const NamedTensors parameters = named_tensors(run.method->module());
  AdamW optimizer(parameters, run.config.recipe.train.adamw);
  Trace trace;
  if (parsed.trace.weights) {
    for (const auto& [name, tensor] : parameters) trace.add("weight." + name, tensor);
    for (const auto& [name, tensor] : run.method->extra_state()) trace.add("weight.state." + name, tensor);
  }
  run.loader->start(0);
  for (int64_t i = 0; i < parsed.trace.steps; ++i) trace_step(trace, run, parsed.trace, optimizer, parameters, i);
  trace.write(parsed.out, {{"config", to_toml(run.config)}, {"program", "lacuna " + version_text()}});
  std::cout << trace.size() << " tensors in " << parsed.out << " (names: docs/trace.md)\n";
  return 0;
}

}  // namespace lacuna
