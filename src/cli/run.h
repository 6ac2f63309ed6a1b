#pragma once
// Everything a run is made of, built in order from its configuration: sources, tokenizer, method, loader, plan. Used by
// pretrain, resume and plan alike.

#include <memory>
#include <ostream>

#include "cli/run_config.h"
#include "train/trainer.h"

namespace lacuna {

struct Run {
  RunConfig config;
  at::Device device = at::kCPU;
  bool bf16 = false;
  int threads = 1;
  std::unique_ptr<Source> source;
  std::unique_ptr<Source> eval_train, eval_val;  // both or neither
  std::shared_ptr<const Tokenizer> tokenizer;    // only where captions are read
  std::unique_ptr<Method> method;
  std::unique_ptr<Loader> loader;
  Plan plan;
  std::vector<std::string> notes;  // choices made, for the first screen
  std::vector<std::string> init;   // what became of the weights it starts from

  std::filesystem::path out() const { return config.out; }
};

// What of a run a command wants beside the training itself.
struct RunParts {
  bool write = false;       // bad images are to be listed in the run's folder
  bool evaluation = false;  // beside the run
};

// Sets the threads of the process and builds the run. Nothing is written yet.
Run assemble(RunConfig config, const RunParts& parts);

// Fills the method from `init=`, where the configuration names one; what became of it is told by print_plan.
void start_from_init(Run& run);

// OUT/config.toml, with what was settled on the way. From here on the run can be resumed, so it is written first.
void write_config(Run& run);

// OUT/tokenizer, where one was trained and is not there yet. A run that was killed before it trains the same again.
void write_tokenizer(const Run& run);

// The first screen: what will happen.
void print_plan(const Run& run, std::ostream& out);

// What each checkpoint says of its run.
nlohmann::json describe_run(const Run& run);

std::unique_ptr<Trainer> make_trainer(Run& run, std::ostream& progress);

// Trains, exports, evaluates, says what next. Returns the exit code.
int train_to_end(Run& run, Trainer& trainer, std::ostream& out);

}  // namespace lacuna
