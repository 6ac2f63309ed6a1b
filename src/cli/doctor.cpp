#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/cores.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/version.h"
#include "io/files.h"
#include "train/device.h"

namespace lacuna {
namespace {

constexpr uint64_t kDiskProbe = 256u << 20;
constexpr int64_t kMatrix = 2048;

void line(const std::string& what, const std::string& found, const std::string& verdict) {
  std::printf("%-10s %s\n%-10s -> %s\n", what.c_str(), found.c_str(), "", verdict.c_str());
}

uint64_t meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  for (std::string name, unit; in >> name;) {
    uint64_t value = 0;
    in >> value;
    std::getline(in, unit);
    if (name == key + ":") return value * 1024;
  }
  return 0;
}

// GFLOP/s of one square product, the best of a few.
double matmul_speed(at::ScalarType type) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::ones({kMatrix, kMatrix}, type), b = at::ones({kMatrix, kMatrix}, type);
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor c = at::matmul(a, b);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2e-9 * std::pow(static_cast<double>(kMatrix), 3) / seconds);
  }
  return best;
}

std::string rounded(double value) { return std::to_string(static_cast<int64_t>(value + 0.5)); }

void report_versions() {
  std::cout << "lacuna     " << version_text() << "\nLibTorch   " << TORCH_VERSION << ", " << at::get_cpu_capability()
            << " kernels\ncompiler   " << __VERSION__ << "\n";
}

void report_cpu() {
  const bool amx = cpu_has("amx_bf16");
  std::string features;
  for (const auto& [has, name] :
       std::initializer_list<std::pair<bool, const char*>>{{cpu_has("avx2"), "AVX2"},
                                                           {cpu_has("avx512_f"), "AVX-512"},
                                                           {cpu_has("avx512_bf16"), "AVX-512 bf16"},
                                                           {amx, "AMX bf16"}})
    if (has) features += (features.empty() ? "" : ", ") + std::string(name);
  const double f32 = matmul_speed(at::kFloat), bf16 = matmul_speed(at::kBFloat16);
  line("CPU",
       (features.empty() ? "no vector extension that LibTorch uses" : features) + "; f32 " + rounded(f32) +
           " GFLOP/s, bf16 " + rounded(bf16) + " GFLOP/s on a " + std::to_string(kMatrix) + "^3 product",
       amx                ? "bf16 is native here; precision=auto uses it"
       : bf16 > 1.2 * f32 ? "bf16 products are faster; try precision=bf16"
                          : "precision=auto stays with f32, which is right here");
  const int cores = usable_cores();
  line("threads",
       std::to_string(cores) + " cores to use, " + std::to_string(at::get_num_threads()) + " compute threads",
       cores >= 2 ? "fine" : "one core: leave the loader one thread and expect it to compete with training");
}

void report_memory() {
  const uint64_t total = meminfo("MemTotal"), free = meminfo("MemAvailable");
  line("memory", human_bytes(total) + ", " + human_bytes(free) + " available",
       free > (8ull << 30)   ? "enough for a base student at batch 64"
       : free > (2ull << 30) ? "enough for tiny and small students; use train.accumulate for larger batches"
                             : "tight: use model=micro or tiny and a small train.batch_size");
}

void report_disk() {
  const double speed = measure_write_speed(std::filesystem::current_path(), kDiskProbe);
  const double seconds = 1030.0 / speed;  // a checkpoint of a base student: 86 M parameters, three float32 each
  line("disk", rounded(speed) + " MB/s written and synced here, " + human_bytes(free_bytes(".")) + " free",
       seconds < 10 ? "a checkpoint of a base student takes about " + human_duration(seconds)
                    : "slow: a base student's checkpoint takes about " + human_duration(seconds) +
                          "; save less often (checkpoint.every)");
}

void report_gpus() {
  const int64_t count = gpu_count();
  line("GPUs", std::to_string(count),
       count > 0       ? "device=auto uses the first one"
       : at::hasCUDA() ? "this LibTorch could use one, but none is visible"
                       : "this LibTorch is a CPU build; everything works, larger students are slow");
}

}  // namespace

int doctor_command(Arguments) {
  report_versions();
  report_cpu();
  report_memory();
  report_disk();
  report_gpus();
  return 0;
}

}  // namespace lacuna
