#pragma once
// bf16 where the device has it, as a scope around a forward pass: matrix products run in bf16, weights, norms'
// statistics, losses and the optimizer stay in float32.

#include <ATen/autocast_mode.h>

#include "base/config.h"
#include "nn/torch.h"

namespace lacuna {

enum class Precision { kAuto, kF32, kBf16 };
inline constexpr Named<Precision> kPrecisions[] = {
    {Precision::kAuto, "auto", "bf16 where the device multiplies it natively, else f32"},
    {Precision::kF32, "f32"},
    {Precision::kBf16, "bf16"}};

class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, bool bf16)
      : device_(device), before_(at::autocast::is_autocast_enabled(device)) {
    at::autocast::set_autocast_enabled(device_, bf16);
    if (bf16) at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~AutocastScope() {
    // The cast weights of this step are stale once the optimizer has run.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, before_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  bool before_;
};

}  // namespace lacuna
