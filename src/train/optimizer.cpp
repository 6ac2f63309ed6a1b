#include "train/optimizer.h"

#include "base/error.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

constexpr double kClipEps = 1e-6;

void ensure_state(at::Tensor& exp_avg, at::Tensor& exp_avg_sq, at::Tensor& step, const at::Tensor& parameter) {
  if (step.defined()) return;
  exp_avg = at::zeros_like(parameter);
  exp_avg_sq = at::zeros_like(parameter);
  step = at::zeros({}, parameter.options().dtype(at::kFloat));
}

}  // namespace

void AdamWConfig::fields(Fields& f) {
  f.add("weight_decay", weight_decay,
        {.help = "decoupled weight decay; biases, norms and layer scale are left out",
         .min = 0,
         .max = 10,
         .aliases = {"weight_decay"}});
  f.add("beta1", beta1, {.help = "decay of the gradient's mean", .min = 0, .max = 1, .below_max = true});
  f.add("beta2", beta2, {.help = "decay of the gradient's square", .min = 0, .max = 1, .below_max = true});
  f.add("eps", eps, {.help = "added to the denominator", .min = 0, .above_min = true});
  f.add("clip", clip, {.help = "largest global gradient norm; 0 does not clip", .min = 0, .aliases = {"clip_grad"}});
}

bool is_decayed(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() > 1 && !name.ends_with(".bias");
}

AdamW::AdamW(const NamedTensors& parameters, const AdamWConfig& config) : config_(config) {
  invariant(!parameters.empty(), "nothing to optimise");
  for (const auto& [name, parameter] : parameters) {
    if (parameter.requires_grad()) slots_.push_back({name, parameter, {}, {}, {}, is_decayed(name, parameter)});
  }
  skipped_ = at::zeros({}, slots_.at(0).parameter.options().dtype(at::kFloat));
}

void AdamW::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
}

at::Tensor AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  invariant(!gradients.empty(), "an optimizer step without any gradient");
  const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
  const at::Tensor not_finite = at::isfinite(norm).logical_not().to(at::kFloat);
  if (config_.clip > 0) at::_foreach_mul_(gradients, (config_.clip / (norm + kClipEps)).clamp_max(1.0));
  step_group(true, lr, not_finite);
  step_group(false, lr, not_finite);
  skipped_ += not_finite;
  return norm;
}

void AdamW::step_group(bool decayed, double lr, const at::Tensor& not_finite) {
  std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, steps;
  for (Slot& slot : slots_) {
    if (slot.decayed != decayed || !slot.parameter.grad().defined()) continue;
    ensure_state(slot.exp_avg, slot.exp_avg_sq, slot.step, slot.parameter);
    parameters.push_back(slot.parameter);
    gradients.push_back(slot.parameter.grad());
    exp_avgs.push_back(slot.exp_avg);
    exp_avg_sqs.push_back(slot.exp_avg_sq);
    steps.push_back(slot.step);
  }
  if (parameters.empty()) return;
  at::_foreach_add_(steps, 1);
  at::_fused_adamw_(parameters, gradients, exp_avgs, exp_avg_sqs, {}, steps, lr, config_.beta1, config_.beta2,
                    decayed ? config_.weight_decay : 0.0, config_.eps, /*amsgrad=*/false, /*maximize=*/false,
                    /*grad_scale=*/{}, /*found_inf=*/not_finite);
  at::_foreach_sub_(steps, std::vector<at::Tensor>(steps.size(), not_finite));
}

std::vector<std::string> AdamW::names(bool decayed) const {
  std::vector<std::string> out;
  for (const Slot& slot : slots_) {
    if (slot.decayed == decayed) out.push_back(slot.name);
  }
  return out;
}

NamedTensors AdamW::state() const {
  NamedTensors out;
  for (const Slot& slot : slots_) {
    if (!slot.step.defined()) continue;
    out.emplace_back(slot.name + ".exp_avg", slot.exp_avg);
    out.emplace_back(slot.name + ".exp_avg_sq", slot.exp_avg_sq);
    out.emplace_back(slot.name + ".step", slot.step);
  }
  return out;
}

void AdamW::load_state(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  size_t used = 0;
  for (Slot& slot : slots_) {
    const at::Tensor* exp_avg = find(state, slot.name + ".exp_avg");
    const at::Tensor* exp_avg_sq = find(state, slot.name + ".exp_avg_sq");
    const at::Tensor* step = find(state, slot.name + ".step");
    if (!exp_avg && !exp_avg_sq && !step) continue;
    check(exp_avg && exp_avg_sq && step && exp_avg->sizes() == slot.parameter.sizes() &&
              exp_avg_sq->sizes() == slot.parameter.sizes() && step->dim() == 0,
          "checkpoint: the optimizer state of '", slot.name, "' is incomplete or has another shape than ",
          shape_text(slot.parameter));
    ensure_state(slot.exp_avg, slot.exp_avg_sq, slot.step, slot.parameter);
    slot.exp_avg.copy_(*exp_avg);
    slot.exp_avg_sq.copy_(*exp_avg_sq);
    slot.step.copy_(*step);
    used += 3;
  }
  check(used == state.size(), "checkpoint: ", state.size() - used,
        " optimizer tensors belong to no parameter of this model");
}

}  // namespace lacuna
