#include <torch/version.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/signals.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// A start that was killed while it wrote config.toml leaves a hidden temporary file.
bool holds_something(const fs::path& folder) {
  const fs::directory_iterator entries(folder);
  return std::any_of(begin(entries), end(entries), [](const fs::directory_entry& entry) {
    return !entry.path().filename().string().starts_with('.');
  });
}

void check_out(const fs::path& out) {
  check(!out.empty(), "out: no folder for the run; set out=DIR");
  if (!fs::exists(out)) return;
  check(fs::is_directory(out), "out: ", out.string(), " exists and is not a folder");
  check(!fs::exists(out / "config.toml"), "out: ", out.string(),
        " already holds a run. Go on with it by\n  lacuna resume ", out.string(), "\nor choose another folder");
  check(!holds_something(out), "out: ", out.string(), " is not empty, and holds no run; choose another folder");
}

// A resume may change only what cannot change the result's meaning; everything else is refused with a diff.
void check_changes(const RunConfig& before, const RunConfig& after) {
  std::string refused;
  for (const Change& change : diff(before, after)) {
    if (!change.may_change) refused += "\n  " + change.key + ": " + change.before + " -> " + change.after;
  }
  check(refused.empty(), "resume: these keys may not change within a run:", refused,
        "\nStart a new run for them (out=DIR), or leave them out");
}

// The saved configuration with the overrides of the command line on top.
RunConfig resumed_config(const fs::path& out, Arguments overrides) {
  const RunConfig before = read_run(out);
  std::vector<std::string> arguments{(out / "config.toml").string()};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  RunConfig after = parse_run(arguments);
  check_changes(before, after);
  after.out = fs::absolute(out).lexically_normal().string();  // the folder may have been moved
  return after;
}

void compare_with(const Run& run, const Snapshot& snapshot, std::ostream& out) {
  const nlohmann::json& state = snapshot.state();
  check(state.at("source_fingerprint").get<std::uint64_t>() == run.source->fingerprint(), "resume: the images of ",
        run.config.data.path,
        " are not those the run began with (their list changed); restore them, or start a new run");
  if (state.at("threads") != run.threads || state.at("bf16") != run.bf16)
    out << "note: the run had " << state.at("threads") << " threads in "
        << (state.at("bf16").get<bool>() ? "bf16" : "f32") << "; with " << run.threads << " in "
        << (run.bf16 ? "bf16" : "f32") << " it goes on soundly, but not bit by bit as it would have\n";
  if (state.at("versions").at("libtorch") != TORCH_VERSION)
    out << "note: the run was started with LibTorch " << state.at("versions").at("libtorch").get<std::string>()
        << "; results may differ in the last bits\n";
}

}  // namespace

int pretrain_command(Arguments arguments) {
  RunConfig config = parse_run(arguments);
  make_paths_absolute(config);
  check_out(config.out);
  Run run = assemble(config, {.write = true, .evaluation = true});
  start_from_init(run);
  install_stop_signals();
  write_config(run);
  const FolderLock lock(run.out());
  write_tokenizer(run);
  print_plan(run, std::cout);
  const auto trainer = make_trainer(run, std::cerr);
  return train_to_end(run, *trainer, std::cout);
}

int resume_command(Arguments arguments) {
  check(!arguments.empty(), "resume: name the folder of the run: lacuna resume OUT");
  install_stop_signals();
  const fs::path out = arguments[0];
  RunConfig config = resumed_config(out, arguments.subspan(1));
  const FolderLock lock(out);
  Run run = assemble(std::move(config), {.write = true, .evaluation = true});
  write_tokenizer(run);
  std::vector<std::string> notes;
  const auto snapshot = Checkpoints(run.out() / "checkpoints", {}).newest(&notes);
  if (!snapshot) start_from_init(run);
  print_plan(run, std::cout);
  for (const std::string& note : notes) std::cout << note << "\n";
  const auto trainer = make_trainer(run, std::cerr);
  if (snapshot) {
    compare_with(run, *snapshot, std::cout);
    trainer->restore(*snapshot);
  }
  std::cout << (snapshot ? text("goes on after step ", trainer->step(), "\n") : "no checkpoint yet: begins at step 0\n")
            << std::endl;
  return train_to_end(run, *trainer, std::cout);
}

}  // namespace lacuna
