// The whole path on built-in data: a teacher, a student, what each learnt, and a kill that loses nothing. Every number
// it prints was computed in that run.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/commands.h"
#include "cli/evaluate.h"
#include "cli/run.h"
#include "io/files.h"

extern char** environ;

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct DemoConfig {
  std::string out = "demo-out";
  uint64_t seed = 0;
  std::optional<int> threads;
  int teacher_steps = 1100;
  int student_steps = 900;
  int64_t train_scenes = 4000;
  int64_t val_scenes = 1000;

  void fields(Fields& f) {
    f.add("out", out, {.help = "folder; must be new, or of an earlier demo"});
    f.add("seed", seed, {.help = "names every random number"});
    f.add("threads", threads, {.help = "compute threads; auto is all cores", .min = 1, .max = 4096});
    f.add("teacher_steps", teacher_steps, {.help = "steps of the teacher", .min = 10});
    f.add("student_steps", student_steps, {.help = "steps of the student", .min = 10});
    f.add("train_scenes", train_scenes, {.help = "labelled scenes for kNN and probe", .min = 100});
    f.add("val_scenes", val_scenes, {.help = "labelled scenes the result is measured on", .min = 100});
  }
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void heading(int number, const std::string& what) {
  std::cout << "\n--- " << number << ". " << what << "\n\n" << std::flush;
}

int pretrain(const std::vector<std::string>& arguments) {
  std::cout << "$ lacuna pretrain";
  for (const std::string& argument : arguments)
    std::cout << " " << (argument.find(' ') == std::string::npos ? argument : "\"" + argument + "\"");
  std::cout << "\n\n" << std::flush;
  return pretrain_command(arguments);
}

std::string threads_of(const DemoConfig& c) { return c.threads ? text("threads=", *c.threads) : "threads=auto"; }

std::vector<std::string> teacher_arguments(const DemoConfig& c) {
  return {"method=clip",
          "model=micro",
          "data=shapes",
          "data.size=1000000",
          "data.side=48",
          "data.label=color",
          "image_size=48",
          "patch_size=8",
          "batch_size=64",
          "lr=3e-3",
          text("duration=", c.teacher_steps, " steps"),
          text("seed=", c.seed),
          text("out=", c.out, "/teacher"),
          "checkpoint.every=50 %",
          "eval.every=0",
          "eval.max_samples=1000",
          "precision=f32",
          threads_of(c)};
}

std::vector<std::string> student_arguments(const DemoConfig& c, int steps, const std::string& out) {
  return {"method=cae_v2",
          "model=micro",
          "data=shapes",
          "data.size=1000000",
          "data.side=48",
          "data.label=color",
          text("teacher=", c.out, "/teacher/export"),
          "batch_size=64",
          "lr=1.5e-3",
          text("duration=", steps, " steps"),
          text("seed=", c.seed + 1),
          text("out=", out),
          "eval.every=50 %",
          "eval.max_samples=1000",
          "precision=f32",
          threads_of(c)};
}

struct Row {
  std::string name;
  double knn, linear;
};

Row measure(const std::string& name, const Backbone& backbone, const LabelledData& data, const DemoConfig& c) {
  FeatureConfig config;
  config.crop_ratio = kWholeImage;
  const FeaturePair features = features_of(backbone, data, config);
  ProbeConfig probe;
  probe.seed = c.seed;
  probe.epochs = 30;
  probe.warmup = 3;
  return {name, knn_accuracy(features.train, features.val, KnnConfig{}).top1,
          linear_probe(features.train, features.val, probe).accuracy.top1};
}

LabelledData labelled_scenes(const DemoConfig& c) {
  DataConfig train, val;
  train.path = val.path = "shapes";
  train.side = val.side = 48;
  train.label = val.label = SceneLabel::kColor;
  train.size = c.train_scenes;
  val.size = c.val_scenes;
  return {open_source(train.source(), Split::kTrain), open_source(val.source(), Split::kVal)};
}

// Runs this program with other arguments; output goes to a log file.
pid_t start_self(const std::vector<std::string>& arguments, const fs::path& log) {
  std::vector<char*> argv;
  static const std::string kSelf = "/proc/self/exe";
  argv.push_back(const_cast<char*>(kSelf.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int fault = posix_spawn(&child, fs::read_symlink(kSelf).c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  check(fault == 0, "demo: cannot start a second process of this program: ", std::strerror(fault));
  return child;
}

void wait_done(pid_t child, const fs::path& log) {
  int status = 0;
  waitpid(child, &status, 0);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "demo: a run of its own failed; see ", log.string());
}

std::string final_hash(const fs::path& run) {
  const auto newest = Checkpoints(run / "checkpoints", {}).newest();
  check(newest.has_value(), run.string(), ": no checkpoint");
  return newest->state().at("tensors").at("hash").get<std::string>();
}

struct KillTrial {
  std::string unbroken, resumed;
  int64_t killed_after = 0;
};

// One short run whole, the same run killed by SIGKILL once it has a few checkpoints and then resumed.
KillTrial kill_and_resume(const DemoConfig& c) {
  const fs::path whole = fs::path(c.out) / "resume-whole", broken = fs::path(c.out) / "resume-killed",
                 log = fs::path(c.out) / "resume.log";
  const auto arguments = [&](const fs::path& out) {
    std::vector<std::string> all = student_arguments(c, 60, out.string());
    all.insert(all.begin(), "pretrain");
    all.insert(all.end(), {"checkpoint.every=5 steps", "log.pictures=0"});
    std::replace(all.begin(), all.end(), std::string("eval.every=50 %"), std::string("eval.every=0"));
    std::replace(all.begin(), all.end(), std::string("eval.max_samples=1000"), std::string("eval.max_samples=200"));
    return all;
  };
  wait_done(start_self(arguments(whole), log), log);
  const pid_t child = start_self(arguments(broken), log);
  const Checkpoints checkpoints(broken / "checkpoints", {});
  while (checkpoints.steps().empty() || checkpoints.steps().back() < 25) {
    int status = 0;
    check(waitpid(child, &status, WNOHANG) == 0, "demo: the run to be killed ended by itself; see ", log.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  KillTrial trial;
  trial.killed_after = checkpoints.steps().back();
  wait_done(start_self({"resume", broken.string()}, log), log);
  trial.unbroken = final_hash(whole);
  trial.resumed = final_hash(broken);
  return trial;
}

void print_table(const std::vector<Row>& rows) {
  std::printf("\n%-34s %10s %14s\n", "features of", "20-NN", "linear probe");
  for (const Row& row : rows) std::printf("%-34s %8.1f %% %12.1f %%\n", row.name.c_str(), row.knn, row.linear);
  std::printf("\n%-34s %+8.1f   %+12.1f     (points over the random network)\n", "gain of the student",
              rows[1].knn - rows[0].knn, rows[1].linear - rows[0].linear);
}

void prepare(const DemoConfig& c) {
  const fs::path out = c.out, mark = out / "demo.json";
  if (fs::exists(out) && !fs::is_empty(out)) {
    check(fs::exists(mark), "demo: ", c.out,
          " is not empty and is no earlier demo; choose another folder with out=DIR");
    remove_tree(out);
  }
  fs::create_directories(out);
  write_json_atomic(mark, nlohmann::json{{"what", "lacuna demo"}, {"seed", c.seed}});
}

}  // namespace

int demo_command(Arguments arguments) {
  DemoConfig c;
  Settings settings;
  settings.override_with(arguments);
  apply(settings, c);
  c.out = fs::absolute(c.out).lexically_normal().string();
  prepare(c);
  const auto start = Clock::now();

  heading(1, "A tiny image-text teacher, trained from scratch on captioned scenes");
  if (const int code = pretrain(teacher_arguments(c)); code != 0) return code;
  heading(2, "A tiny student, pretrained against it on scenes without labels or captions");
  if (const int code = pretrain(student_arguments(c, c.student_steps, c.out + "/student")); code != 0) return code;
  heading(3, "What did they learn? Name the colour of the main object, one of twelve, from frozen features");
  const LabelledData data = labelled_scenes(c);
  const Backbone student = open_backbone(fs::path(c.out) / "student" / "export"),
                 teacher = open_backbone(fs::path(c.out) / "teacher" / "export");
  const std::vector<Row> rows = {measure("a random network (chance is 8 %)", random_like(student, c.seed + 2), data, c),
                                 measure("the student", student, data, c), measure("its teacher", teacher, data, c)};
  print_table(rows);
  heading(4, "Killed in the middle (SIGKILL) and resumed: are the final weights the same?");
  const KillTrial trial = kill_and_resume(c);
  const bool equal = trial.unbroken == trial.resumed;
  std::cout << "unbroken run               " << trial.unbroken << "\nkilled after step " << trial.killed_after
            << ", resumed " << trial.resumed << "\n"
            << (equal ? "equal, bit by bit\n" : "NOT EQUAL\n");
  write_json_atomic(
      fs::path(c.out) / "demo.json",
      nlohmann::json{
          {"what", "lacuna demo"},
          {"seed", c.seed},
          {"seconds", seconds_since(start)},
          {"resume_equal", equal},
          {"knn", {{"random", rows[0].knn}, {"student", rows[1].knn}, {"teacher", rows[2].knn}}},
          {"linear", {{"random", rows[0].linear}, {"student", rows[1].linear}, {"teacher", rows[2].linear}}}});
  std::cout << "\n--- Done in " << human_duration(seconds_since(start)) << "\n\npictures   " << c.out
            << "/student/pictures\nbackbone   " << c.out
            << "/student/export (opens in timm as local-dir:…)\nteacher    " << c.out
            << "/teacher/export (opens in transformers as CLIPModel)\n\nWith your own images and a CLIP folder:\n"
            << "  lacuna pretrain method=cae_v2 model=tiny data=DIR teacher=CLIP_DIR out=OUT\n";
  return equal ? 0 : static_cast<int>(ExitCode::kInternal);
}

}  // namespace lacuna
