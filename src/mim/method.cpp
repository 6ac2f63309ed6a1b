#include "mim/method.h"

#include <algorithm>

#include "base/error.h"

namespace lacuna {
namespace {

bool same_view(const ViewSpec& a, const ViewSpec& b) {
  return a.side == b.side && a.kernel == b.kernel && a.stats == b.stats;
}

size_t place_of(std::vector<ViewSpec>& views, const ViewSpec& wanted) {
  for (size_t i = 0; i < views.size(); ++i) {
    if (same_view(views[i], wanted)) return i;
  }
  views.push_back(wanted);
  return views.size() - 1;
}

}  // namespace

Method::Method(ViewSpec student_view, Masker masker, Student student,
               std::vector<std::shared_ptr<Objective>> objectives)
    : masker_(std::move(masker)),
      root_(std::make_shared<torch::nn::Module>()),
      student_(root_->register_module("student", student)),
      objectives_(std::move(objectives)),
      views_{student_view} {
  const auto parts = root_->register_module("objective", std::make_shared<torch::nn::Module>());
  for (const auto& objective : objectives_) {
    parts->register_module(objective->objective_name(), objective);
    std::vector<size_t> places;
    for (const ViewSpec& view : objective->views()) places.push_back(place_of(views_, view));
    objective->set_views(places);
    check(!objective->needs_masked() || student_->can_complete(), "objective '", objective->objective_name(),
          "' supervises masked patches, but the student completes none; set completer.kind=regressor, or the weight of "
          "its "
          "masked region to 0");
    check(!objective->needs_masked() || masker_.config().hidden(student_->vit->config().patches()) > 0, "objective '",
          objective->objective_name(),
          "' supervises masked patches, but the mask hides none; raise mask.ratio or mask.count, or "
          "choose another mask.kind");
  }
}

bool Method::wants_captions() const {
  return std::any_of(objectives_.begin(), objectives_.end(), [](const auto& o) { return o->needs_captions(); });
}

bool Method::needs_masked() const {
  return std::any_of(objectives_.begin(), objectives_.end(), [](const auto& o) { return o->needs_masked(); });
}

void Method::to(at::Device device, at::ScalarType teacher_dtype) {
  root_->to(device);
  for (const auto& objective : objectives_) objective->prepare(device, teacher_dtype);
}

MaskPlan Method::plan(const Batch& batch, const StepContext& context) const {
  return masker_.draw(context.seed, static_cast<uint64_t>(batch.epoch), batch.ids, batch.views.at(0).device());
}

Losses Method::losses(const Batch& batch, const StepContext& context) {
  const MaskPlan masks = plan(batch, context);
  SeededPathDrop drop(context.seed, static_cast<uint64_t>(batch.epoch), batch.ids);
  const Tokens tokens = student_(batch.views.at(0), masks, needs_masked(), context.training ? &drop : nullptr);
  Losses out;
  for (const auto& objective : objectives_) {
    ObjectiveLosses part = objective->losses(Step{batch, masks, tokens, context});
    const at::Tensor weighted = objective->weight() * part.total;
    out.total = out.total.defined() ? out.total + weighted : weighted;
    const std::string prefix = objective->objective_name() + "/";
    out.terms.emplace_back(prefix + "loss", part.total.detach());
    for (auto& [name, value] : part.terms) out.terms.emplace_back(prefix + name, value);
    for (auto& [name, value] : part.health) out.health.emplace_back(prefix + name, value);
  }
  return out;
}

PatchMaps Method::maps(const Batch& batch, const MaskPlan& masks, const StepContext& context) {
  const at::NoGradGuard no_grad;
  const Tokens tokens =
      student_(batch.views.at(0), masks, student_->can_complete() && masks.masked_count() > 0, nullptr);
  for (const auto& objective : objectives_) {
    PatchMaps found = objective->maps(Step{batch, masks, tokens, context});
    if (found.agreement.defined()) return found;
  }
  return {};
}

}  // namespace lacuna
