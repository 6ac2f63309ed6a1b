// From a sample to the two views of CAE v2 (jitter, flip, crop, two resizes), one thread: the loader's work per image.
//
//   bench_views                      built-in scenes
//   LACUNA_BENCH_IMAGES=DIR bench_views     decoding the images below DIR, too

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>

#include "data/source/open_source.h"
#include "data/view/render.h"

namespace lacuna {
namespace {

void views(benchmark::State& state, const Source& source) {
  const ViewSpec both[] = {{.side = 224}, {.side = 224, .stats = kClipStats}};
  int64_t i = 0;
  for (auto _ : state) {
    const int64_t id = i++ % source.size();
    benchmark::DoNotOptimize(
        render_views(source.image(id), AugmentConfig{}, both, 0, 0, static_cast<std::uint64_t>(id)));
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace
}  // namespace lacuna

int main(int argc, char** argv) {
  using namespace lacuna;
  const char* folder = std::getenv("LACUNA_BENCH_IMAGES");
  const std::unique_ptr<Source> source = open_source({.path = folder ? folder : "shapes", .side = 256}, Split::kTrain);
  benchmark::RegisterBenchmark("views/two_of_224", [&](benchmark::State& state) {
    views(state, *source);
  })->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
