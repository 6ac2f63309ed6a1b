#include <c10/util/Exception.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/version.h"

namespace {

using namespace lacuna;

struct Command {
  std::string name;
  int (*run)(Arguments);
  std::string help;
};

const std::vector<Command>& commands() {
  static const std::vector<Command> kCommands = {
      {"pretrain", pretrain_command,
       "[RECIPE.toml] key=value …   train a student; minimal: method=cae_v2 data=DIR teacher=DIR out=DIR"},
      {"resume", resume_command, "OUT [key=value …]           go on with a run exactly where it stopped"},
      {"plan", plan_command, "[RECIPE.toml] key=value …   say what pretrain would do, and how long it would take"},
      {"eval", eval_command,
       "knn|linear MODEL data=DIR   measure a run, checkpoint, export or CLIP folder on labelled images"},
      {"embed", embed_command, "MODEL PATH… --out FILE      features of images as npz, safetensors, csv or jsonl"},
      {"export", export_command,
       "MODEL OUT --to TARGET       write it as timm, hf (transformers), openclip or safetensors"},
      {"inspect", inspect_command, "PATH [--stats]              what a weight file or folder is, opens as and holds"},
      {"compare", compare_command, "A B [IMAGES…]               how far two weight files or models are apart"},
      {"data", data_command,
       "check|pack|show PATH …      look at a data set whole, write it as tar shards, see its views"},
      {"tokenizer", tokenizer_command,
       "train|encode|show …         a caption vocabulary: learn one, see what it makes of a text"},
      {"methods", methods_command, "[NAME] [--markdown]         the table of methods, or one of them explained"},
      {"config", config_command, "[KEY] [method=… model=…]    every key with type, unit, default and meaning"},
      {"trace", trace_command,
       "[RECIPE.toml] key=value …   write some steps with all their tensors to out=FILE.safetensors"},
      {"doctor", doctor_command, "                            what this machine offers, in words"},
      {"demo", demo_command, "[out=DIR] [seed=N]          the whole path on built-in data, in minutes"}};
  return kCommands;
}

void print_help() {
  std::cout << "lacuna " << version_text()
            << ": masked image modeling against CLIP-like targets\n\nusage: lacuna COMMAND …\n\n";
  for (const Command& command : commands()) std::printf("  %-9s %s\n", command.name.c_str(), command.help.c_str());
  std::cout << "\nexit codes: 0 done, 1 our fault, 2 a mistake in what was asked, 3 bad data, 4 interrupted and "
               "resumable,\n            5 compared and found different\n";
}

bool asks_for_help(const std::vector<std::string>& arguments) {
  const auto asks = [](const std::string& argument) { return argument == "--help" || argument == "-h"; };
  return arguments.size() > 1 && (arguments[1] == "help" || std::any_of(arguments.begin() + 1, arguments.end(), asks));
}

int print_command_help(const Command& command) {
  std::cout << "usage: lacuna " << command.name << " " << command.help << "\n";
  if (command.name == "pretrain" || command.name == "resume" || command.name == "plan")
    std::cout << "\nkeys: lacuna config [KEY] lists them, with type, unit, default and meaning\n";
  if (command.name == "trace") std::cout << "\nkeys: those of pretrain, and trace.KEY with\n" << trace_keys();
  if (command.name == "eval") std::cout << "\nkeys:\n" << eval_keys();
  if (command.name == "embed")
    std::cout << "\nPATH: images, folders, archives, lists (.txt, .tsv, .csv, .jsonl, .json) or \"shapes\"\n\nkeys:\n"
              << embed_keys();
  if (command.name == "export") std::cout << "\nkeys:\n" << export_keys();
  if (command.name == "inspect") std::cout << "\nkeys:\n" << inspect_keys();
  if (command.name == "compare") std::cout << "\nkeys:\n" << compare_keys();
  if (command.name == "data")
    std::cout << "\n  lacuna data check PATH … [--json]            decodes everything; says what is there, broken and "
                 "there twice"
                 "\n  lacuna data pack PATH OUT [key=value …]      tar shards and an index, read back after writing"
                 "\n  lacuna data show PATH --out FILE.png [samples=N] [key=value …]"
                 "\n                                               samples after augmentation, with masks; keys: those "
                 "of pretrain"
                 "\n\nkeys:\n"
              << data_keys();
  if (command.name == "tokenizer")
    std::cout
        << "\n  lacuna tokenizer train DATA out=DIR [key=value …]    DATA: as data=, or a .txt with one caption a line"
           "\n  lacuna tokenizer encode TOKENIZER \"text\" …         ids and pieces"
           "\n  lacuna tokenizer show TOKENIZER                      size, marks, cleaning, longest merges"
           "\n\nTOKENIZER: a folder with vocab.json and merges.txt, a tokenizer.json, or OpenAI's"
           "\nbpe_simple_vocab_16e6.txt.gz\n\nkeys of train:\n"
        << tokenizer_keys();
  return 0;
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "help" || arguments[0] == "--help" || arguments[0] == "-h") {
    print_help();
    return arguments.empty() ? static_cast<int>(ExitCode::kUser) : 0;
  }
  if (arguments[0] == "--version" || arguments[0] == "version") {
    std::cout << "lacuna " << version_text() << "\n";
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.name == arguments[0] && asks_for_help(arguments)) return print_command_help(command);
    if (command.name == arguments[0]) return command.run(Arguments(arguments).subspan(1));
    names.push_back(command.name);
  }
  const auto close = nearest(arguments[0], names);
  fail("no command named '", arguments[0], "'", close ? "; did you mean " + *close + "?" : "",
       " (lacuna help lists them)");
}

// OpenMP's threads spin while they wait for one another. When the cores are shared with anything else the default costs
// a run most of its speed; a short spin keeps nearly all of it on an idle machine (docs/benchmarks.md). libgomp reads
// this once, before main, so the program starts itself again.
void settle_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "2000", 1);
  execv("/proc/self/exe", argv);  // returns only where it cannot; then the default has to do
}

}  // namespace

int main(int argc, char** argv) {
  settle_spinning(argv);
  // Activations of one step are larger than what glibc keeps by default: it would return them to the kernel at every
  // free and fault their pages in again at every allocation.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const Error& error) {
    std::fprintf(stderr, "lacuna: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "lacuna: LibTorch failed: %s\n", error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "lacuna: out of memory; a smaller train.batch_size, or train.accumulate, needs less\n");
    return static_cast<int>(ExitCode::kUser);
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "lacuna: internal error: %s\nThis is a bug: please report it with the command that led to it.\n",
                 error.what());
  }
  return static_cast<int>(ExitCode::kInternal);
}
