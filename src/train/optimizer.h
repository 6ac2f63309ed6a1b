#pragma once
// AdamW (Loshchilov and Hutter, 2019) over named parameters with one fused call per group, gradient clipping and the
// guard against non-finite gradients without waiting for the device.

#include <optional>
#include <string>
#include <vector>

#include "base/config.h"
#include "nn/weights/weights.h"
#include "train/param_groups.h"

namespace lacuna {

enum class ClipScope { kGlobal, kTensor };
inline constexpr Named<ClipScope> kClipScopes[] = {
    {ClipScope::kGlobal, "global", "one norm over all gradients, one factor for all"},
    {ClipScope::kTensor, "tensor", "each parameter's gradient by its own norm"}};

struct AdamWConfig {
  double weight_decay = 0.05;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double clip = 3.0;
  ClipScope clip_scope = ClipScope::kGlobal;
  std::vector<std::string> no_decay = {};  // ends of names, whole components: "pos_embed", "head.weight"
  std::optional<double> weight_decay_end = {};

  void fields(Fields& f);

  // Weight decay of a step: constant, or half a cosine over the run to `weight_decay_end`.
  double weight_decay_at(int64_t step, int64_t total_steps) const;
};

// Biases and everything of at most one dimension (norms, layer scale, attention biases) are not decayed; class and mask
// tokens, learned positions and tables of relative positions are (cae.md section 5.1), unless `no_decay` names them.
// SLIP's rule, which asks for "ln", "bn" or "bias" in the name or less than two dimensions, picks the same parameters.
bool is_decayed(const std::string& name, const at::Tensor& parameter, const std::vector<std::string>& no_decay = {});

class AdamW {
 public:
  // `lr_scale` is asked once for each parameter that requires a gradient; without it every factor is 1.
  AdamW(const NamedTensors& parameters, const AdamWConfig& config, const LrScale& lr_scale = {});

  void zero_grad();

  // Clips to the configured norm, then moves every parameter that has a gradient; one without is left alone: no decay,
  // no state. When a gradient is not finite nothing moves and `skipped` counts one more. Returns the global norm of the
  // gradient before clipping, 0-d, on the device.
  at::Tensor step(double lr, double weight_decay);
  at::Tensor step(double lr) { return step(lr, config_.weight_decay); }

  at::Tensor skipped() const { return skipped_; }  // 0-d float, on the device: steps not taken so far

  // "<parameter>.exp_avg", "<parameter>.exp_avg_sq" and "<parameter>.step", of the parameters that have moved.
  NamedTensors state() const;
  // Strict: names must be those of known parameters with their shapes.
  void load_state(const NamedTensors& state);

  // Parameters that share one fused call. Decayed groups first; within a kind, by the first parameter's place.
  struct Group {
    bool decayed;
    double lr_scale;
    std::vector<std::string> names;
  };
  std::vector<Group> groups() const;

  std::vector<std::string> decayed() const { return names(true); }
  std::vector<std::string> undecayed() const { return names(false); }

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;
    at::Tensor exp_avg, exp_avg_sq, step;  // undefined until the parameter first has a gradient
    bool decayed;
    double lr_scale;
  };
  using SlotGroup = std::vector<size_t>;  // places in slots_, never empty

  void make_groups(bool decayed);
  std::vector<std::string> names(bool decayed) const;
  void clip(const std::vector<at::Tensor>& gradients, const at::Tensor& norms, const at::Tensor& norm) const;
  void step_group(const SlotGroup& group, double lr, double weight_decay, const at::Tensor& not_finite);

  AdamWConfig config_;
  std::vector<Slot> slots_;
  std::vector<SlotGroup> groups_;
  at::Tensor skipped_;
};

}  // namespace lacuna
