#pragma once
// AdamW (Loshchilov and Hutter, 2019) over named parameters with one fused call per group, gradient clipping and the
// guard against non-finite gradients without waiting for the device.

#include <string>
#include <vector>

#include "base/config.h"
#include "nn/weights.h"

namespace lacuna {

struct AdamWConfig {
  double weight_decay = 0.05;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double clip = 3.0;

  void fields(Fields& f);
};

// Biases and everything of at most one dimension (norms, layer scale, attention biases) are not decayed; class and mask
// tokens are (cae.md section 5.1).
bool is_decayed(const std::string& name, const at::Tensor& parameter);

class AdamW {
 public:
  AdamW(const NamedTensors& parameters, const AdamWConfig& config);

  void zero_grad();

  // Clips to the configured global norm, then moves every parameter that has a gradient; one without is left alone: no
  // decay, no state. When a gradient is not finite nothing moves and `skipped` counts one more. Returns the gradient's
  // norm before clipping, 0-d, on the device.
  at::Tensor step(double lr);

  at::Tensor skipped() const { return skipped_; }  // 0-d float, on the device: steps not taken so far

  // "<parameter>.exp_avg", "<parameter>.exp_avg_sq" and "<parameter>.step", of the parameters that have moved.
  NamedTensors state() const;
  // Strict: names must be those of known parameters with their shapes.
  void load_state(const NamedTensors& state);

  std::vector<std::string> decayed() const { return names(true); }
  std::vector<std::string> undecayed() const { return names(false); }

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;
    at::Tensor exp_avg, exp_avg_sq, step;  // undefined until the parameter first has a gradient
    bool decayed;
  };

  std::vector<std::string> names(bool decayed) const;
  void step_group(bool decayed, double lr, const at::Tensor& not_finite);

  AdamWConfig config_;
  std::vector<Slot> slots_;
  at::Tensor skipped_;
};

}  // namespace lacuna
