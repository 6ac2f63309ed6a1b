// How long a source takes to open: listed for the first time, and from the index cache.
//
//   LACUNA_BENCH_FILES=1000000 bench_listing     (100,000 unless set; a tree of empty files in the temporary folder)

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "data/source/open_source.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr int kPerFolder = 1000;

std::int64_t file_count() {
  const char* wanted = std::getenv("LACUNA_BENCH_FILES");
  return wanted ? std::atoll(wanted) : 100'000;
}

// Classes of a thousand images each, and a list of all of them with labels and captions. Gone at the end.
class Tree {
 public:
  Tree() : root_(fs::temp_directory_path() / ("lacuna-bench-" + std::to_string(::getpid()))) {
    fs::create_directories(root_ / "tree");
    std::ofstream list(root_ / "list.csv");
    list << "path,label,caption\n";
    for (std::int64_t i = 0; i < file_count(); ++i) {
      const std::string folder = "class" + std::to_string(1000000 + i / kPerFolder);
      if (i % kPerFolder == 0) fs::create_directories(root_ / "tree" / folder);
      const std::string name = folder + "/image" + std::to_string(10000000 + i) + ".jpg";
      ::close(::open((root_ / "tree" / name).c_str(), O_CREAT | O_WRONLY, 0644));
      list << "tree/" << name << ',' << folder << ",a photograph of number " << i << '\n';
    }
    list.close();
    const auto past = fs::file_time_type::clock::now() - std::chrono::hours(1);
    for (const auto& entry : fs::directory_iterator(root_ / "tree")) fs::last_write_time(entry, past);
    fs::last_write_time(root_ / "tree", past);
    fs::last_write_time(root_ / "list.csv", past);
  }
  ~Tree() { fs::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  const fs::path& root() const { return root_; }

 private:
  fs::path root_;
};

const Tree& tree() {
  static const Tree kTree;
  return kTree;
}

void open_times(benchmark::State& state, const char* what, bool cached) {
  const SourceConfig config{.path = (tree().root() / what).string(), .cache = tree().root() / "cache"};
  if (cached) open_source(config, Split::kTrain);
  for (auto _ : state) {
    state.PauseTiming();
    if (!cached) fs::remove_all(config.cache);
    state.ResumeTiming();
    const auto source = open_source(config, Split::kTrain);
    if (source->size() != file_count()) state.SkipWithError("another number of images than were made");
    benchmark::DoNotOptimize(source->fingerprint());
  }
  state.SetItemsProcessed(state.iterations() * file_count());
}

void first_folder(benchmark::State& state) { open_times(state, "tree", false); }
void again_folder(benchmark::State& state) { open_times(state, "tree", true); }
void first_list(benchmark::State& state) { open_times(state, "list.csv", false); }
void again_list(benchmark::State& state) { open_times(state, "list.csv", true); }

BENCHMARK(first_folder)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(again_folder)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(first_list)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(again_list)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace lacuna

BENCHMARK_MAIN();
