#include "mim/distill.h"

#include "base/error.h"
#include "mim/health.h"

namespace lacuna {
namespace {

// The slices of a joined [B,R] tensor, by region name.
template <class Take>
void for_each_region(const Regions& regions, const MaskPlan& plan, Take take) {
  int64_t begin = 0;
  const auto each = [&](const char* name, double weight, int64_t count) {
    if (weight <= 0) return;
    if (count > 0) take(name, weight, begin, begin + count);
    begin += count;
  };
  const int64_t per = plan.even() ? plan.batch : 1;  // uneven samples stand in one row
  each("cls", regions.cls, plan.batch / per);
  each("visible", regions.visible, plan.visible.size(0) / per);
  each("masked", regions.masked, plan.masked.size(0) / per);
}

bool stateful(const NormalizeConfig& c) {
  return c.kind == NormalizeKind::kCenterSharpen || c.kind == NormalizeKind::kWhiten ||
         (c.kind == NormalizeKind::kBatchNorm && c.running);
}

// Of the whole batch, of which every rank saw an equal share.
TokenMeans over_ranks(TokenMeans means, const Ranks& ranks) {
  for (at::Tensor* mean : {&means.patch, &means.cls, &means.second}) {
    if (mean->defined()) *mean = ranks.sum(*mean) / static_cast<double>(ranks.world());
  }
  return means;
}

at::Tensor mean_of(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::stack(parts).mean(0);
}

}  // namespace

void DistillConfig::fields(Fields& f) {
  f.table("normalize", normalize, {.help = "how targets are shaped", .shorthand = "kind"});
  f.table("normalize_mean", normalize_mean,
          {.help = "how the mean of several blocks is shaped after that", .shorthand = "kind"});
  f.table("normalize_prediction", normalize_prediction, {.help = "how predictions are shaped", .shorthand = "kind"});
  f.table("region", region, {.help = "which tokens are supervised, and how much", .shorthand = "kind"});
  f.add("reduction", reduction, kReductions, {.help = "how tokens' losses become one number"});
  f.add("crops", crops, kCropPairs, {.help = "with several crops: which crop's target"});
  f.table("head", head, {.help = "from the student's width to the target's", .shorthand = "kind"});
  f.add("freeze_prototypes", freeze_prototypes,
        {.help = "a projection's prototypes do not move at first", .unit = "epochs", .min = 0});
  f.table("loss", loss, {.help = "distance of prediction and target", .shorthand = "kind"});
}

const Observation& SharedTeacher::observe(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop) {
  for (const auto& [known, observation] : seen_) {
    if (known.is_same(images) && !teacher_->sees_masked_only()) return observation;
  }
  return seen_.emplace_back(images, teacher_->observe(images, plan, drop)).second;
}

Distill::Distill(std::string name, double weight, DistillConfig config, std::shared_ptr<SharedTeacher> teacher,
                 std::shared_ptr<Head> head, bool owns, int64_t crops)
    : Objective(std::move(name), weight),
      config_(std::move(config)),
      regions_(config_.region.weights()),
      teacher_(std::move(teacher)),
      head_(std::move(head)),
      owns_(owns),
      normalizer_(config_.normalize, teacher_->get().width()),
      crops_(crops) {
  if (owns_) register_module("head", head_);
  check_cells();
}

// What cannot work is said at the start, with what would.
void Distill::check_cells() const {
  const std::string where = "objective '" + objective_name() + "': ";
  config_.normalize.temperature.validate("normalize.temperature", 1e-6, 1e6);
  const TargetForm wanted = target_form(config_.loss.kind);
  const std::string loss = name_of(kLossKinds, config_.loss.kind);
  check(regions_.cls + regions_.visible + regions_.masked > 0, where,
        "all regions have weight 0, so nothing is supervised");
  if (teacher_->get().form() == TargetForm::kClasses) {
    check(wanted == TargetForm::kClasses, where, "the teacher gives classes, which loss ", loss,
          " cannot compare; use loss=cross_entropy");
    check(config_.normalize.kind == NormalizeKind::kKeep, where, "classes cannot be normalised (",
          name_of(kNormalizeKinds, config_.normalize.kind), "); use normalize=keep");
  } else {
    check(wanted != TargetForm::kClasses, where, "loss ", loss,
          " needs classes, but the teacher gives features of width ", teacher_->get().width(),
          "; use a tokenizer (teacher.kind=dvae or vqkd), or a loss such as smooth_l1 or cosine");
    const bool probabilities = config_.normalize.kind == NormalizeKind::kCenterSharpen;
    check(
        (wanted == TargetForm::kProbabilities) == probabilities, where, "loss ", loss, " and normalize ",
        name_of(kNormalizeKinds, config_.normalize.kind),
        " do not fit: soft_cross_entropy needs the probabilities that center_sharpen makes, and only it can use them");
  }
  check(regions_.cls == 0 || teacher_->get().has_class_token(), where, "it supervises the class token, but ",
        teacher_->get().describe(), " has none; set region=masked, visible or patches");
  if (teacher_->get().sees_masked_only()) {
    check(regions_.cls + regions_.visible == 0, where,
          "the teacher sees the hidden patches only (teacher.sees=masked), so only region=masked has targets");
    check(!teacher_->get().can_guide() || config_.crops == CropPairs::kSame, where,
          "targets of hidden patches cannot be those of another crop; use crops=same");
  }
  check(config_.crops == CropPairs::kSame || (crops_ > 1 && regions_.visible + regions_.masked == 0), where,
        "crops=others compares class tokens of different crops: it needs crops of at least 2 and region=cls");
  check(head_->out() == teacher_->get().width(), where, "the head gives ", head_->out(), " channels, the target has ",
        teacher_->get().width());
  for (const NormalizeConfig* each : {&config_.normalize_mean, &config_.normalize_prediction})
    check(!stateful(*each), where, name_of(kNormalizeKinds, each->kind),
          " keeps a state, which only targets can have; use keep, unit, layer_norm, instance_norm or batch_norm");
}

// Whether some cell looks from one token of an image to the others: images of different lengths stand in one row.
bool Distill::compares_tokens() const {
  return teacher_->get().sees_masked_only() || config_.head.kind == HeadKind::kDecoder ||
         config_.loss.kind == LossKind::kInfoNce || config_.normalize_prediction.kind == NormalizeKind::kInstanceNorm;
}

std::string Distill::describe() const {
  return text(teacher_->get().describe(), " -> ", name_of(kNormalizeKinds, config_.normalize.kind), " @ cls ",
              regions_.cls, ", visible ", regions_.visible, ", masked ", regions_.masked, " (",
              name_of(kReductions, config_.reduction), ") -> ", name_of(kHeadKinds, config_.head.kind), " -> ",
              name_of(kLossKinds, config_.loss.kind), ", weight ", weight());
}

std::vector<ViewSpec> Distill::views() const {
  std::vector<ViewSpec> out;
  for (int64_t crop = 0; crop < crops_; ++crop) {
    out.push_back(teacher_->get().view());
    out.back().crop = static_cast<int>(crop);
  }
  return out;
}

void Distill::begin(uint64_t seed) {
  if (owns_) teacher_->get().begin(seed);
}

void Distill::prepare(at::Device device, at::ScalarType teacher_dtype) {
  teacher_->get().to(device, teacher_dtype);
  normalizer_.to(device);
}

// One normalised grid of what the teacher said.
at::Tensor Distill::shape(const Observation& seen, const StepContext& context) {
  if (teacher_->get().form() == TargetForm::kClasses) return seen.grids.at(0);
  const double temperature =
      config_.normalize.temperature.value(context.step, context.total_steps, context.steps_per_epoch);
  std::vector<at::Tensor> shaped;
  for (const at::Tensor& grid : seen.grids) shaped.push_back(normalizer_.apply(grid, temperature));
  return normalize(mean_of(shaped), config_.normalize_mean);
}

Tokens Distill::targets(const Step& step, size_t crop, const MaskPlan& plan, bool remember) {
  const at::NoGradGuard no_grad;
  const Observation& seen = teacher_->observe(step.batch.views.at(views_.at(crop)), plan, step.drop);
  const at::Tensor grid = shape(seen, step.context);
  if (remember && stateful(config_.normalize)) seen_.push_back(mean_of(seen.grids).detach());
  if (seen.of_masked) return {.cls = grid.slice(1, 0, 1), .visible = {}, .masked = grid.slice(1, 1)};
  return split_tokens(grid, plan);
}

at::Tensor Distill::predict(const Tokens& tokens, const MaskPlan& plan, PathDrop* drop) {
  const at::Tensor prediction =
      head_->forward({.tokens = tokens.join(regions_), .places = token_places(regions_, plan)}, drop);
  return config_.normalize_prediction.kind == NormalizeKind::kKeep
             ? prediction
             : normalize(prediction, config_.normalize_prediction);
}

at::Tensor Distill::reduce(const at::Tensor& per_token, const MaskPlan& plan) const {
  const at::Tensor weights = token_weights(regions_, plan, per_token.options());  // [B,R]
  const at::Tensor weighted = per_token * weights;
  switch (config_.reduction) {
    case Reduction::kTokenMean:
      return weighted.sum() / weights.sum().clamp_min(1e-12);
    case Reduction::kFixedDenominator:
      return weighted.sum() / static_cast<double>(plan.batch * (1 + plan.patches));
    case Reduction::kImageMean:
    case Reduction::kRegionMeans:
      break;
  }
  at::Tensor total = per_token.sum() * 0;
  for_each_region(regions_, plan, [&](const std::string& name, double weight, int64_t begin, int64_t end) {
    const at::Tensor part = per_token.slice(1, begin, end);
    const bool by_image = config_.reduction == Reduction::kImageMean && name == "masked";
    total = total + weight * (by_image ? (part.flatten() * plan.per_image_weights(part.options())).sum() : part.mean());
  });
  return total;
}

NamedScalars Distill::health(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& latents) const {
  const at::Tensor rank = effective_rank(latents);
  switch (target_form(config_.loss.kind)) {
    case TargetForm::kClasses:
      return {{"accuracy", class_accuracy(prediction, target)},
              {"accuracy_trivial", largest_class_share(target)},
              {"rank", rank}};
    case TargetForm::kProbabilities:
      return {{"accuracy", class_accuracy(prediction, target.argmax(-1, /*keepdim=*/true))},
              {"target_entropy", mean_entropy(target)},
              {"target_spread", entropy_of_mean(target)},
              {"rank", rank}};
    case TargetForm::kFeatures:
      break;
  }
  return {{"cosine", mean_cosine(prediction, target)},
          {"cosine_trivial", trivial_cosine(target)},
          {"target_variance", target_variance(target)},
          {"rank", rank},
          {"rank_target", effective_rank(target)}};
}

ObjectiveLosses Distill::losses(const Step& step) {
  ObjectiveLosses out;
  std::vector<at::Tensor> parts;
  for (size_t a = 0; a < step.passes.size(); ++a) {
    const Pass& pass = step.passes[a];
    for (size_t b = 0; b < step.passes.size(); ++b) {
      if ((a == b) != (config_.crops == CropPairs::kSame)) continue;
      const Tokens wanted = targets(step, b, pass.plan, step.context.training);
      const at::Tensor target = wanted.join(regions_);                                   // [B,R,K]
      const at::Tensor prediction = predict(pass.encoded.tokens, pass.plan, step.drop);  // [B,R,K]
      const at::Tensor per_token = token_loss(prediction, target, config_.loss);         // [B,R]
      at::Tensor total = reduce(per_token, pass.plan);
      if (pass.encoded.aggregated) {
        const at::Tensor second = reduce(
            token_loss(predict(*pass.encoded.aggregated, pass.plan, step.drop), target, config_.loss), pass.plan);
        if (parts.empty()) out.terms.emplace_back("aggregated", second.detach());
        total = total + second;
      }
      const std::string place = step.passes.size() > 1 ? text(".crop", a, ".of_crop", b) : "";
      step.note("target" + place, target);
      step.note("prediction" + place, prediction);
      step.note("token_loss" + place, per_token);
      parts.push_back(total);
      if (parts.size() > 1) continue;  // terms and figures are the first pair's
      for_each_region(regions_, pass.plan, [&](const char* name, double, int64_t begin, int64_t end) {
        out.terms.emplace_back(name, per_token.slice(1, begin, end).detach().mean());
      });
      if (step.context.diagnose) out.health = health(prediction, target, pass.encoded.tokens.visible);
    }
  }
  out.total = mean_of(parts);
  return out;
}

void Distill::before_update(const StepContext& context) {
  if (owns_) teacher_->get().before_update(context);
  const std::string layer = head_->prototype_layer();
  if (!owns_ || layer.empty() ||
      static_cast<double>(context.step) >= config_.freeze_prototypes * static_cast<double>(context.steps_per_epoch))
    return;
  for (auto& item : head_->named_parameters()) {
    if (item.key().starts_with(layer)) item.value().mutable_grad().reset();
  }
}

void Distill::after_step(const StepContext& context) {
  if (!seen_.empty()) {
    const at::Tensor grid = seen_.size() == 1 ? seen_[0] : at::cat(seen_);
    normalizer_.update_from_means(over_ranks(normalizer_.means(grid), *context.ranks));
  }
  seen_.clear();
  if (!owns_) return;
  teacher_->get().after_step(context);
}

NamedTensors Distill::extra_state() {
  NamedTensors out;
  if (owns_) {
    for (auto& [name, tensor] : teacher_->get().state()) out.emplace_back("teacher." + name, tensor);
  }
  for (auto& [name, tensor] : normalizer_.state()) out.emplace_back("normalize." + name, tensor);
  return out;
}

PatchMaps Distill::maps(const Step& step) {
  const at::NoGradGuard no_grad;
  const Pass& pass = step.passes.at(0);
  if (!pass.plan.even() || config_.crops == CropPairs::kOthers) return {};
  const Tokens target = targets(step, 0, pass.plan, /*remember=*/false);
  // Of one region by itself, so that also those are drawn that are not supervised; [B,R,1].
  const auto agreement = [&](const at::Tensor& latents, const at::Tensor& wanted, const Regions& region,
                             int64_t count) {
    const at::Tensor unknown = at::full({pass.plan.batch, count, 1}, NAN, at::kFloat).to(pass.plan.visible.device());
    if (!latents.defined() || !wanted.defined() || count == 0) return unknown;
    const at::Tensor prediction =
        head_->forward({.tokens = latents, .places = token_places(region, pass.plan)}, nullptr).to(at::kFloat);
    if (target_form(config_.loss.kind) == TargetForm::kClasses) return at::softmax(prediction, -1).gather(-1, wanted);
    return at::cosine_similarity(prediction, wanted.to(at::kFloat), -1).unsqueeze(-1);
  };
  const Tokens& latents = pass.encoded.tokens;
  PatchMaps out;
  out.agreement = pass.plan
                      .restore(agreement(latents.visible, target.visible, {.visible = 1}, pass.plan.visible_count()),
                               agreement(latents.masked, target.masked, {.masked = 1}, pass.plan.masked_count()))
                      .squeeze(-1);
  const bool comparable = teacher_->get().has_class_token() && teacher_->get().form() == TargetForm::kFeatures &&
                          target.visible.defined() && target.cls.defined();
  if (!comparable) return out;
  const auto similarity = [&](const at::Tensor& patches) {
    return at::cosine_similarity(target.cls, patches, -1).unsqueeze(-1);
  };
  out.similarity = pass.plan.restore(similarity(target.visible), similarity(target.masked)).squeeze(-1);
  return out;
}

}  // namespace lacuna
