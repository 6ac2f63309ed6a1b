#include "base/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

namespace lacuna {
namespace {

int affinity_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  return sched_getaffinity(0, sizeof mask, &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
}

// cgroup v2's "QUOTA PERIOD", or "max PERIOD" for no limit.
int quota_cores(int otherwise) {
  std::ifstream in("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return otherwise;
  return std::max(1, static_cast<int>(std::ceil(std::strtod(quota.c_str(), nullptr) / period)));
}

}  // namespace

int usable_cores() {
  if (const char* asked = std::getenv("OMP_NUM_THREADS")) {
    if (const int threads = std::atoi(asked); threads > 0) return threads;
  }
  const int cores = affinity_cores();
  return std::min(cores, quota_cores(cores));
}

}  // namespace lacuna
