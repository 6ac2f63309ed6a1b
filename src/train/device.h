#pragma once
// What the machine offers to a run.

#include <optional>
#include <string>

#include "train/precision.h"

namespace lacuna {

bool cpu_has(const std::string& feature);  // LibTorch's names: "avx2", "avx512_f", "avx512_bf16", "amx_bf16", …
int64_t gpu_count();

// Sets the compute threads of this process, all cores it may use when none are named, and returns their number.
// Denormal numbers are flushed to zero: they cost much and mean nothing here.
int settle_threads(std::optional<int> threads);

// "auto", "cpu", "cuda", "cuda:1". Throws Error when a GPU is asked for and none is there.
at::Device choose_device(const std::string& name);

// Whether matrix products run in bf16: as asked, or where the device multiplies it natively.
bool choose_bf16(Precision precision, at::Device device);

}  // namespace lacuna
