#include "mim/contrast.h"

#include <cmath>

#include "base/error.h"
#include "mim/health.h"

namespace lacuna {
void ContrastConfig::fields(Fields& f) {
  f.add("embed", embed, {.help = "width both towers are projected to", .unit = "channels", .min = 1, .max = 65536});
  f.add("temperature", temperature, {.help = "initial temperature of the softmax", .min = 0, .above_min = true});
  f.add("max_scale", max_scale, {.help = "largest inverse temperature", .min = 1});
  f.add("pass", pass, kContrastPasses, {.help = "which pass of the student is contrasted"});
  f.add("total", total, kContrastTotals, {.help = "how the two directions are added"});
}

ContrastLosses contrastive_losses(const at::Tensor& image, const at::Tensor& text, const at::Tensor& logit_scale,
                                  const Ranks& ranks) {
  const at::Tensor own_image = unit_length(at_least_float(image)), own_text = unit_length(at_least_float(text));
  const at::Tensor scale = logit_scale.exp();
  const at::Tensor target = at::arange(image.size(0), image.options().dtype(at::kLong)) + ranks.rank() * image.size(0);
  const auto rows = [&](const at::Tensor& query, const at::Tensor& keys) {
    return at::cross_entropy_loss(scale * at::matmul(query, keys.t()), target);
  };
  return {.image = rows(own_image, ranks.gather(own_text)), .text = rows(own_text, ranks.gather(own_image))};
}

Contrast::Contrast(std::string name, double weight, const ContrastConfig& config, TextStudent text,
                   int64_t vision_width)
    : Objective(std::move(name), weight),
      config_(config),
      text_(std::move(text)),
      vision_projection_(register_module("vision_projection", Linear(vision_width, config.embed, false))),
      text_projection_(register_module("text_projection", Linear(text_->tower->config().width, config.embed, false))) {
  // A constant rather than a draw; nn/init leaves 0-d parameters alone.
  logit_scale_ = register_parameter("logit_scale", at::scalar_tensor(std::log(1.0 / config.temperature), at::kFloat));
}

Needs Contrast::needs() const { return {.clean = config_.pass == ContrastPass::kClean, .captions = true}; }

std::string Contrast::describe() const {
  const TextConfig& t = text_->tower->config();
  return lacuna::text("captions -> text tower of width ", t.width, ", ", t.depth, " blocks, vocabulary ", t.vocabulary,
                      ", context ", t.context, " -> projection to ", config_.embed,
                      " -> contrast over the batch @ class token, weight ", weight());
}

ObjectiveLosses Contrast::losses(const Step& step) {
  const at::Tensor latents =
      config_.pass == ContrastPass::kClean ? step.clean.latents : step.passes.at(0).encoded.latents;
  const at::Tensor image = vision_projection_(latents.select(1, 0));                  // [B,K]
  const at::Tensor caption = text_projection_(text_->tower->forward(step.text_ids));  // [B,K]
  step.note("image", image);
  step.note("caption", caption);
  const ContrastLosses both = contrastive_losses(image, caption, logit_scale_, *step.context.ranks);
  const at::Tensor sum = both.image + both.text;
  ObjectiveLosses out{
      .total = config_.total == ContrastTotal::kSum ? sum : sum / 2,
      .terms = {{"image", both.image.detach()}, {"text", both.text.detach()}, {"scale", logit_scale_.detach().exp()}},
      .health = {}};
  if (step.context.diagnose) {
    const at::Tensor similarity =
        at::matmul(unit_length(at_least_float(image)), unit_length(at_least_float(caption)).t()).detach();
    const at::Tensor own = at::arange(similarity.size(0), similarity.options().dtype(at::kLong));
    out.health = {{"batch_accuracy", similarity.argmax(1).eq(own).to(at::kFloat).mean()},
                  {"rank", effective_rank(image)}};
  }
  return out;
}

void Contrast::after_step(const StepContext&) {
  const at::NoGradGuard no_grad;
  logit_scale_.clamp_(0.0, std::log(config_.max_scale));
}

bool Contrast::write_towers(const std::filesystem::path& folder, const Vit& vit, const BackboneConfig& config) const {
  if (!why_not_clip(config.vit).empty() || !why_not_clip(text_->tower->config()).empty()) return false;
  const ClipConfig clip{.vision = config.vit,
                        .text = text_->tower->config(),
                        .embed = config_.embed,
                        .stats = config.stats,
                        .kernel = config.kernel};
  NamedTensors tensors = named_tensors(*vit, "vision.");
  for (auto& item : named_tensors(*text_->tower, "text.")) tensors.push_back(item);
  for (auto& item : named_tensors(*this)) tensors.push_back(item);
  write_clip_folder(folder, clip, tensors);
  text_->tokenizer().save(folder);
  return true;
}

}  // namespace lacuna
