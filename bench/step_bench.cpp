// One optimizer step of CAE v2 at full size against a CLIP ViT-B/16 with random weights (speed does not depend on
// them), on random pixels: images per second, and how the time divides. No loader: views_bench times that.
//
//   bench_step --benchmark_filter=small --benchmark_repetitions=3
//
// Threads: OMP_NUM_THREADS. The same step in plain PyTorch is the peer to run beside it (docs/benchmarks.md).

#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <chrono>
#include <climits>
#include <filesystem>
#include <map>

#include "methods/methods.h"
#include "nn/clip.h"
#include "nn/init.h"
#include "train/device.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;

ClipConfig clip_base() {
  ClipConfig config;
  config.vision = clip_vision(named_vit("base"), Activation::kQuickGelu);
  config.embed = 512;
  return config;
}

// A teacher from memory: the step is timed, not the reading of a folder.
class RandomClip : public Teacher {
 public:
  RandomClip() : tower_(clip_base()) {
    initialize(*tower_, 0, InitScheme::kCae, "teacher");
    tower_->eval();
  }
  ViewSpec view() const override { return {.side = 224, .kernel = Kernel::kBicubic, .stats = kClipStats}; }
  int64_t grid() const override { return 14; }
  int64_t patch_side() const override { return 16; }
  int64_t width() const override { return 512; }
  std::string describe() const override { return "random CLIP ViT-B/16"; }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    const auto start = Clock::now();
    const at::Tensor all = tower_->vit->encode(images.to(tower_->projection->weight.scalar_type()));
    Observation out{.grids = {tower_->projection(all)}};
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    return out;
  }
  void to(at::Device device, at::ScalarType dtype) override { tower_->to(device, dtype); }

  double seconds = 0;

 private:
  ClipVision tower_;
};

struct Parts {
  std::unique_ptr<Method> method;
  RandomClip* teacher;
};

Parts build(const std::string& size) {
  const Recipe recipe = recipe_of("cae_v2", size);
  const Composition& c = recipe.composition;
  auto teacher = std::make_unique<RandomClip>();
  RandomClip* watched = teacher.get();
  Student student(c.student, c.student.vit, c.completer);
  const DistillConfig& distill = c.objectives[0].distill;
  auto head = build_head(distill.head, {.width = student->width(), .out = teacher->width(), .grid = teacher->grid()});
  auto objective = std::make_shared<Distill>("target", 1.0, distill,
                                             std::make_shared<SharedTeacher>(std::move(teacher)), std::move(head));
  auto method = std::make_unique<Method>(MethodParts{.student_view = ViewSpec{},
                                                     .masker = Masker(c.mask, 14),
                                                     .student = student,
                                                     .objectives = {std::move(objective)}});
  initialize(method->module(), 0, c.student.init);
  return {std::move(method), watched};
}

Batch random_batch(int64_t size) {
  Batch batch;
  for (int i = 0; i < 2; ++i) batch.views.push_back(at::randn({size, 3, 224, 224}));
  for (int64_t i = 0; i < size; ++i) batch.ids.push_back(i);
  batch.labels.assign(static_cast<size_t>(size), kNoLabel);
  return batch;
}

void step(benchmark::State& state, const std::string& size, bool bf16, int64_t batch_size) {
  Parts parts = build(size);
  parts.method->to(at::kCPU, bf16 ? at::kBFloat16 : at::kFloat);
  AdamW optimizer(named_tensors(parts.method->module()), {});
  const Batch batch = random_batch(batch_size);
  std::map<std::string, double> seconds;
  auto mark = Clock::now();
  const auto lap = [&](const char* part) {
    seconds[part] += std::chrono::duration<double>(Clock::now() - mark).count();
    mark = Clock::now();
  };
  const auto run = [&](int64_t i) {
    mark = Clock::now();
    optimizer.zero_grad();
    at::Tensor loss;
    {
      const AutocastScope autocast(at::kCPU, bf16);
      loss = parts.method->losses(batch, {.seed = 0, .step = i}).total;
    }
    lap("forward");
    loss.backward();
    lap("backward");
    optimizer.step(1e-4);
    lap("optimizer");
  };
  for (int64_t i = 0; i < 2; ++i) run(i);
  seconds.clear();
  parts.teacher->seconds = 0;
  int64_t i = 2;
  for (auto _ : state) run(i++);
  const double steps = static_cast<double>(state.iterations());
  seconds["forward"] -= parts.teacher->seconds;
  seconds["teacher"] = parts.teacher->seconds;
  for (const auto& [part, total] : seconds) state.counters["ms_" + part] = 1e3 * total / steps;
  state.counters["img_s"] = benchmark::Counter(static_cast<double>(batch_size) * steps, benchmark::Counter::kIsRate);
  state.SetLabel(std::to_string(at::get_num_threads()) + " threads");
}

void register_all() {
  for (const std::string size : {"tiny", "small", "base"}) {
    for (const bool bf16 : {false, true}) {
      const std::string name = "cae_v2/" + size + "/" + (bf16 ? "bf16" : "f32") + "/batch:16";
      benchmark::RegisterBenchmark(name.c_str(), [size, bf16](benchmark::State& s) { step(s, size, bf16, 16); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    }
  }
}

}  // namespace
}  // namespace lacuna

int main(int argc, char** argv) {
  mallopt(M_MMAP_MAX, 0);  // as the program itself does (src/cli/main.cpp)
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  lacuna::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
