#include "mim/method.h"

#include <algorithm>

#include "base/error.h"

namespace lacuna {
namespace {

bool same_view(const ViewSpec& a, const ViewSpec& b) {
  return a.side == b.side && a.kernel == b.kernel && a.stats == b.stats && a.crop == b.crop && a.spectrum == b.spectrum;
}

size_t place_of(std::vector<ViewSpec>& views, const ViewSpec& wanted) {
  for (size_t i = 0; i < views.size(); ++i) {
    if (same_view(views[i], wanted)) return i;
  }
  views.push_back(wanted);
  return views.size() - 1;
}

}  // namespace

Method::Method(MethodParts parts) : parts_(std::move(parts)), root_(std::make_shared<torch::nn::Module>()) {
  root_->register_module("student", parts_.student.ptr());
  if (parts_.text) root_->register_module("text", parts_.text.ptr());
  for (int crop = 0; crop < parts_.crops; ++crop) {
    views_.push_back(parts_.student_view);
    views_.back().crop = crop;
  }
  const auto modules = root_->register_module("objective", std::make_shared<torch::nn::Module>());
  bool guided = false;
  for (const auto& objective : parts_.objectives) {
    modules->register_module(objective->objective_name(), objective);
    std::vector<size_t> places;
    for (const ViewSpec& view : objective->views()) places.push_back(place_of(views_, view));
    objective->set_views(places);
    const Needs needs = objective->needs();
    needs_.masked = needs_.masked || needs.masked;
    needs_.clean = needs_.clean || needs.clean;
    needs_.captions = needs_.captions || needs.captions;
    guided = guided || objective->can_guide();
    if (needs.masked) check_masked(*objective);
    if (needs.even)
      check_even(lacuna::text("objective '", objective->objective_name(),
                              "' looks from one token of an image to the others (head.kind=decoder, "
                              "loss=info_nce, teacher.sees=masked or normalize_prediction=instance_norm)"));
  }
  if (!parts_.student->mask_token.defined()) check_even("student.mode=drop encodes the visible patches alone");
  check(!parts_.masker.needs_guide() || guided,
        "mask.kind: attention asks a teacher which patches matter, and no objective's teacher can tell; use a ViT with "
        "a class token (teacher.kind=clip, vit or momentum), or mask.kind=block");
}

void Method::check_masked(const Objective& objective) const {
  const Student& student = parts_.student;
  check(student->predicts_masked(), "objective '", objective.objective_name(),
        "' supervises masked patches, but the student completes none; set completer.kind=regressor or decoder, "
        "student.mode=paint, or the weight of its masked region to 0");
  const MaskConfig& mask = parts_.masker.config();
  check(mask.hidden(student->vit->config().patches()) > 0 || mask.ratio_max, "objective '", objective.objective_name(),
        "' supervises masked patches, but the mask hides none; raise mask.ratio or mask.count, or choose another "
        "mask.kind");
}

void Method::check_even(const std::string& who) const {
  check(!parts_.masker.config().may_be_uneven(), who,
        " and needs the same number of hidden patches in every image, which mask.kind=block_loose, mask.ratio_max and "
        "mask.clean_share do not give; use mask.kind=block, block_topped_up or random with one ratio",
        parts_.student->mask_token.defined() ? "" : ", or student.mode=paint");
}

void Method::begin(uint64_t seed) {
  for (const auto& objective : parts_.objectives) objective->begin(seed);
}

void Method::to(at::Device device, at::ScalarType teacher_dtype) {
  root_->to(device);
  for (const auto& objective : parts_.objectives) objective->prepare(device, teacher_dtype);
}

MaskPlan Method::plan(const Batch& batch, const StepContext& context, int crop) const {
  at::Tensor guide;
  if (parts_.masker.needs_guide()) {
    for (const auto& objective : parts_.objectives) {
      if (guide.defined() || !objective->can_guide()) continue;
      guide = objective->guide(batch, static_cast<size_t>(crop));
    }
  }
  return parts_.masker.draw(context.seed, static_cast<uint64_t>(batch.epoch), batch.ids, batch.views.at(0).device(),
                            crop, guide);
}

Step Method::look(const Batch& batch, const StepContext& context, PathDrop* drop) {
  Step step{.batch = batch, .context = context, .passes = {}, .clean = {}, .text_ids = {}, .drop = drop};
  for (int crop = 0; crop < parts_.crops; ++crop) {
    MaskPlan masks = plan(batch, context, crop);
    Encoded encoded = parts_.student(batch.views.at(static_cast<size_t>(crop)), masks, needs_.masked, drop);
    step.passes.push_back({.plan = std::move(masks), .encoded = std::move(encoded)});
    if (!context.tell) continue;
    const Pass& pass = step.passes.back();
    context.tell(lacuna::text("crop", crop, ".hidden"), pass.plan.masked);
    context.tell(lacuna::text("crop", crop, ".latents"), pass.encoded.latents);
  }
  if (needs_.clean) {
    const MaskPlan& first = step.passes[0].plan;
    step.clean = step.passes[0].encoded;
    // No completer: what it would add to an intact image nobody reads.
    if (first.masked.numel() > 0)
      step.clean = {
          .latents = parts_.student->vit->encode(batch.views.at(0), {}, drop), .tokens = {}, .aggregated = {}};
  }
  if (needs_.captions) {
    invariant(batch.captions.size() == batch.ids.size(), "a batch of ", batch.ids.size(), " images came with ",
              batch.captions.size(), " captions");
    step.text_ids = parts_.text->ids(batch.captions, batch.views.at(0).device());
    if (context.tell) context.tell("text_ids", step.text_ids);
  }
  return step;
}

Losses Method::losses(const Batch& batch, const StepContext& context) {
  SeededPathDrop drop(context.seed, static_cast<uint64_t>(batch.epoch), batch.ids);
  Step step = look(batch, context, context.training ? &drop : nullptr);
  Losses out;
  for (const auto& objective : parts_.objectives) {
    if (context.tell) {
      step.tell = [&](const std::string& name, const at::Tensor& value) {
        context.tell("objective." + objective->objective_name() + "." + name, value);
      };
    }
    ObjectiveLosses part = objective->losses(step);
    const at::Tensor weighted = objective->weight() * part.total;
    out.total = out.total.defined() ? out.total + weighted : weighted;
    const std::string prefix = objective->objective_name() + "/";
    out.terms.emplace_back(prefix + "loss", part.total.detach());
    for (auto& [name, value] : part.terms) out.terms.emplace_back(prefix + name, value);
    for (auto& [name, value] : part.health) out.health.emplace_back(prefix + name, value);
  }
  for (const auto& objective : parts_.objectives) objective->forget();
  return out;
}

void Method::before_update(const StepContext& context) {
  for (const auto& objective : parts_.objectives) objective->before_update(context);
}

void Method::after_step(const StepContext& context) {
  for (const auto& objective : parts_.objectives) objective->after_step(context);
}

NamedTensors Method::extra_state() {
  NamedTensors out;
  for (const auto& objective : parts_.objectives) {
    for (auto& [name, tensor] : objective->extra_state())
      out.emplace_back(objective->objective_name() + "." + name, tensor);
  }
  return out;
}

PatchMaps Method::maps(const Batch& batch, const StepContext& context) {
  const at::NoGradGuard no_grad;
  const Needs needed = needs_;
  needs_.captions = false;  // pictures have none
  const Step step = look(batch, context, nullptr);
  needs_ = needed;
  PatchMaps found;
  for (const auto& objective : parts_.objectives) {
    if (!found.agreement.defined()) found = objective->maps(step);
  }
  for (const auto& objective : parts_.objectives) objective->forget();
  return found;
}

}  // namespace lacuna
