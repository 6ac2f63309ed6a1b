#include "mim/distill.h"

#include "base/error.h"
#include "mim/health.h"

namespace lacuna {
namespace {

template <class E, size_t N>
std::string_view name_of(const Named<E> (&table)[N], E value) {
  for (const auto& row : table) {
    if (row.value == value) return row.name;
  }
  return "?";
}

// The slices of a joined [B,R] tensor, by region name.
NamedScalars region_means(const at::Tensor& per_token, const Regions& regions, const MaskPlan& plan) {
  NamedScalars out;
  int64_t begin = 0;
  const auto take = [&](const char* name, double weight, int64_t count) {
    if (weight <= 0) return;
    out.emplace_back(name, per_token.slice(1, begin, begin + count).detach().mean());
    begin += count;
  };
  take("cls", regions.cls, 1);
  take("visible", regions.visible, plan.visible_count());
  take("masked", regions.masked, plan.masked_count());
  return out;
}

}  // namespace

Distill::Distill(std::string name, double weight, DistillConfig config, std::unique_ptr<Teacher> teacher,
                 int64_t student_width)
    : Objective(std::move(name), weight),
      config_(std::move(config)),
      teacher_(std::move(teacher)),
      head_(register_module("head", std::make_shared<Head>(config_.head, student_width, teacher_->width()))) {}

std::string Distill::describe() const {
  return text(name_of(kTeacherKinds, TeacherKind::kClip), " -> ", name_of(kNormalizeKinds, config_.normalize),
              " @ cls ", config_.regions.cls, ", visible ", config_.regions.visible, ", masked ",
              config_.regions.masked, " (", name_of(kReductions, config_.reduction), ") -> ",
              config_.head.norm ? "norm + linear" : "linear", " -> ", name_of(kLossKinds, config_.loss.kind),
              ", weight ", weight());
}

Tokens Distill::targets(const Step& step) {
  Tokens target = teacher_->observe(step.batch.views.at(view_), step.plan);
  target.cls = normalize(target.cls, config_.normalize);
  target.visible = normalize(target.visible, config_.normalize);
  target.masked = normalize(target.masked, config_.normalize);
  return target;
}

at::Tensor Distill::reduce(const at::Tensor& per_token, const MaskPlan& plan) const {
  const at::Tensor weights = token_weights(config_.regions, plan, per_token.options());  // [R]
  switch (config_.reduction) {
    case Reduction::kTokenMean:
      return (per_token.mean(0) * weights).sum() / weights.sum();
    case Reduction::kFixedDenominator:
      return (per_token.mean(0) * weights).sum() / static_cast<double>(1 + plan.patches);
    case Reduction::kRegionMeans:
      break;
  }
  at::Tensor total;
  int64_t begin = 0;
  const auto take = [&](double weight, int64_t count) {
    if (weight <= 0) return;
    const at::Tensor term = weight * per_token.slice(1, begin, begin + count).mean();
    total = total.defined() ? total + term : term;
    begin += count;
  };
  take(config_.regions.cls, 1);
  take(config_.regions.visible, plan.visible_count());
  take(config_.regions.masked, plan.masked_count());
  return total;
}

ObjectiveLosses Distill::losses(const Step& step) {
  const at::Tensor target = targets(step).join(config_.regions);              // [B,R,K]
  const at::Tensor latents = step.tokens.join(config_.regions);               // [B,R,D]
  const at::Tensor prediction = head_->forward(latents);                      // [B,R,K]
  const at::Tensor per_token = token_loss(prediction, target, config_.loss);  // [B,R]
  ObjectiveLosses out{.total = reduce(per_token, step.plan),
                      .terms = region_means(per_token, config_.regions, step.plan),
                      .health = {}};
  if (step.context.diagnose) {
    out.health = {{"cosine", mean_cosine(prediction, target)},
                  {"cosine_trivial", trivial_cosine(target)},
                  {"target_variance", target_variance(target)},
                  {"rank", effective_rank(step.tokens.visible)},
                  {"rank_target", effective_rank(target)}};
  }
  return out;
}

PatchMaps Distill::maps(const Step& step) {
  const at::NoGradGuard no_grad;
  const Tokens target = targets(step);
  const auto predict = [&](const at::Tensor& latents) {
    return latents.defined() ? head_->forward(latents).to(at::kFloat) : at::Tensor();
  };
  const auto agreement = [&](const at::Tensor& latents, const at::Tensor& wanted) {
    const at::Tensor prediction = predict(latents);
    if (!prediction.defined()) return at::full({wanted.size(0), wanted.size(1), 1}, NAN, wanted.options());
    return at::cosine_similarity(prediction, wanted, -1).unsqueeze(-1);  // [B,R,1]
  };
  const auto similarity = [&](const at::Tensor& patches) {
    return at::cosine_similarity(target.cls, patches, -1).unsqueeze(-1);
  };
  return {.agreement =
              step.plan
                  .restore(agreement(step.tokens.visible, target.visible), agreement(step.tokens.masked, target.masked))
                  .squeeze(-1),
          .similarity = step.plan.restore(similarity(target.visible), similarity(target.masked)).squeeze(-1)};
}

}  // namespace lacuna
