#include "train/optimizer.h"

#include <algorithm>

#include "base/error.h"
#include "nn/shapes.h"
#include "train/ramp.h"

namespace lacuna {
namespace {

constexpr double kClipEps = 1e-6;

void ensure_state(at::Tensor& exp_avg, at::Tensor& exp_avg_sq, at::Tensor& step, const at::Tensor& parameter) {
  if (step.defined()) return;
  exp_avg = at::zeros_like(parameter);
  exp_avg_sq = at::zeros_like(parameter);
  step = at::zeros({}, parameter.options().dtype(at::kFloat));
}

bool ends_with_components(const std::string& name, const std::string& end) {
  return name == end || name.ends_with("." + end);
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
  f.add("clip", clip, {.help = "largest gradient norm; 0 does not clip", .min = 0, .aliases = {"clip_grad"}});
  f.add("clip_scope", clip_scope, kClipScopes, {.help = "whose norm is clipped"});
  f.add("no_decay", no_decay,
        {.help = "further parameters without weight decay, by the end of their names, such as \"pos_embed\""});
  f.add("weight_decay_end", weight_decay_end,
        {.help = "weight decay at the end of the run, reached by half a cosine; auto keeps it constant",
         .min = 0,
         .max = 10});
}

double AdamWConfig::weight_decay_at(int64_t step, int64_t total_steps) const {
  if (!weight_decay_end) return weight_decay;
  const Ramp ramp{.start = weight_decay, .end = weight_decay_end, .shape = RampShape::kCosine};
  return ramp.value(step, total_steps, /*steps_per_epoch=*/1);
}

bool is_decayed(const std::string& name, const at::Tensor& parameter, const std::vector<std::string>& no_decay) {
  const bool named =
      std::any_of(no_decay.begin(), no_decay.end(), [&](const auto& end) { return ends_with_components(name, end); });
  return parameter.dim() > 1 && !name.ends_with(".bias") && !named;
}

AdamW::AdamW(const NamedTensors& parameters, const AdamWConfig& config, const LrScale& lr_scale) : config_(config) {
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.requires_grad()) continue;
    slots_.push_back({.name = name,
                      .parameter = parameter,
                      .exp_avg = {},
                      .exp_avg_sq = {},
                      .step = {},
                      .decayed = is_decayed(name, parameter, config.no_decay),
                      .lr_scale = lr_scale ? lr_scale(name) : 1.0});
  }
  invariant(!slots_.empty(), "nothing to optimise");
  make_groups(true);
  make_groups(false);
  skipped_ = at::zeros({}, slots_[0].parameter.options().dtype(at::kFloat));
}

void AdamW::make_groups(bool decayed) {
  const size_t begin = groups_.size();
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].decayed != decayed) continue;
    const auto same = [&](const SlotGroup& group) { return slots_[group[0]].lr_scale == slots_[i].lr_scale; };
    auto place = std::find_if(groups_.begin() + static_cast<std::ptrdiff_t>(begin), groups_.end(), same);
    if (place == groups_.end()) place = groups_.insert(place, SlotGroup{});
    place->push_back(i);
  }
}

void AdamW::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
}

at::Tensor AdamW::step(double lr, double weight_decay) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  invariant(!gradients.empty(), "an optimizer step without any gradient");
  const at::Tensor norms = at::stack(at::_foreach_norm(gradients));
  const at::Tensor norm = at::linalg_vector_norm(norms);
  const at::Tensor not_finite = at::isfinite(norm).logical_not().to(at::kFloat);
  if (config_.clip > 0) clip(gradients, norms, norm);
  for (const SlotGroup& group : groups_) step_group(group, lr, weight_decay, not_finite);
  skipped_ += not_finite;
  return norm;
}

void AdamW::clip(const std::vector<at::Tensor>& gradients, const at::Tensor& norms, const at::Tensor& norm) const {
  const auto factor = [&](const at::Tensor& of) { return (config_.clip / (of + kClipEps)).clamp_max(1.0); };
  if (config_.clip_scope == ClipScope::kGlobal) {
    at::_foreach_mul_(gradients, factor(norm));
  } else {
    at::_foreach_mul_(gradients, factor(norms).unbind());
  }
}

void AdamW::step_group(const SlotGroup& group, double lr, double weight_decay, const at::Tensor& not_finite) {
  std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, steps;
  for (const size_t place : group) {
    Slot& slot = slots_[place];
    if (!slot.parameter.grad().defined()) continue;
    ensure_state(slot.exp_avg, slot.exp_avg_sq, slot.step, slot.parameter);
    parameters.push_back(slot.parameter);
    gradients.push_back(slot.parameter.grad());
    exp_avgs.push_back(slot.exp_avg);
    exp_avg_sqs.push_back(slot.exp_avg_sq);
    steps.push_back(slot.step);
  }
  if (parameters.empty()) return;
  const Slot& first = slots_[group[0]];
  at::_foreach_add_(steps, 1);
  at::_fused_adamw_(parameters, gradients, exp_avgs, exp_avg_sqs, {}, steps, lr * first.lr_scale, config_.beta1,
                    config_.beta2, first.decayed ? weight_decay : 0.0, config_.eps, /*amsgrad=*/false,
                    /*maximize=*/false,
                    /*grad_scale=*/{}, /*found_inf=*/not_finite);
  at::_foreach_sub_(steps, std::vector<at::Tensor>(steps.size(), not_finite));
}

std::vector<AdamW::Group> AdamW::groups() const {
  std::vector<Group> out;
  for (const SlotGroup& group : groups_) {
    Group& one = out.emplace_back(Group{slots_[group[0]].decayed, slots_[group[0]].lr_scale, {}});
    for (const size_t place : group) one.names.push_back(slots_[place].name);
  }
  return out;
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
