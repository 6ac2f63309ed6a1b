#include "train/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "base/cores.h"
#include "base/error.h"

namespace lacuna {

bool cpu_has(const std::string& feature) {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto found = capabilities.find(feature);
  return found != capabilities.end() && found->second.isBool() && found->second.toBool();
}

int64_t gpu_count() { return at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0; }

int settle_threads(std::optional<int> threads) {
  const int count = threads.value_or(usable_cores());
  at::set_num_threads(count);
  at::globalContext().setFlushDenormal(true);
  return count;
}

at::Device choose_device(const std::string& name) {
  const bool gpu = gpu_count() > 0;
  if (name == "cpu" || (name == "auto" && !gpu)) return at::kCPU;
  check(gpu, "device: '", name,
        "' was asked for, but this machine or this build of LibTorch offers no GPU; use device=cpu");
  return name == "auto" || name == "cuda" ? at::Device(at::kCUDA, 0) : at::Device(name);
}

bool choose_bf16(Precision precision, at::Device device) {
  if (precision != Precision::kAuto) return precision == Precision::kBf16;
  return device.is_cuda() || cpu_has("amx_bf16");
}

}  // namespace lacuna
