#include "mim/contrast.h"

#include <cmath>

#include "base/error.h"
#include "mim/health.h"
#include "nn/vit_fields.h"

namespace lacuna {
namespace {

constexpr double kLargestScale = 100.0;

TextConfig with_vocabulary(TextConfig config, const Tokenizer& tokenizer) {
  config.vocabulary = tokenizer.vocab_size();
  config.end_id = tokenizer.end_id();
  config.hidden = 4 * config.width;
  return config;
}

at::Tensor unit(const at::Tensor& x) {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  return wide / at::linalg_vector_norm(wide, 2, -1, true).clamp_min(1e-12);
}

}  // namespace

void ContrastConfig::fields(Fields& f) {
  f.add("width", text.width, {.help = "width of the text tower", .unit = "channels", .min = 4});
  f.add("depth", text.depth, {.help = "blocks of the text tower", .unit = "blocks", .min = 1});
  f.add("heads", text.heads, {.help = "attention heads of the text tower", .min = 1});
  f.add("activation", text.activation, kActivations, {.help = "non-linearity of the text tower's MLPs"});
  f.add("context", text.context,
        {.help = "length captions are cut or padded to", .unit = "tokens", .min = 4, .max = 4096});
  f.add("embed", embed, {.help = "width both towers are projected to", .unit = "channels", .min = 1});
  f.add("temperature", temperature, {.help = "initial temperature of the softmax", .min = 0, .above_min = true});
}

at::Tensor contrastive_loss(const at::Tensor& image, const at::Tensor& text, const at::Tensor& logit_scale) {
  const at::Tensor logits =
      logit_scale.exp().clamp_max(kLargestScale) * at::matmul(unit(image), unit(text).t());  // [B,B]
  const at::Tensor own = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, own) + at::cross_entropy_loss(logits.t(), own)) / 2;
}

Contrast::Contrast(std::string name, double weight, const ContrastConfig& config,
                   std::shared_ptr<const Tokenizer> tokenizer, int64_t student_width)
    : Objective(std::move(name), weight),
      text_config_(with_vocabulary(config.text, *tokenizer)),
      embed_(config.embed),
      tokenizer_(std::move(tokenizer)),
      vision_projection_(register_module("vision_projection", Linear(student_width, config.embed, false))),
      text_(register_module("text", TextTower(text_config_))),
      text_projection_(register_module("text_projection", Linear(text_config_.width, config.embed, false))) {
  // A constant rather than a draw; nn/init leaves 0-d parameters alone.
  logit_scale_ = register_parameter("logit_scale", at::scalar_tensor(std::log(1.0 / config.temperature), at::kFloat));
}

std::string Contrast::describe() const {
  return text("captions -> text tower of width ", text_config_.width, ", ", text_config_.depth, " blocks, vocabulary ",
              text_config_.vocabulary, ", context ", text_config_.context, " -> projection to ", embed_,
              " -> contrast over the batch @ class token, weight ", weight());
}

at::Tensor Contrast::token_ids(const std::vector<std::string>& captions, at::Device device) const {
  std::vector<int64_t> ids;
  for (const std::string& caption : captions) {
    const auto row = tokenizer_->encode_padded(caption, static_cast<int>(text_config_.context));
    ids.insert(ids.end(), row.begin(), row.end());
  }
  return torch::tensor(ids, at::kLong).view({static_cast<int64_t>(captions.size()), text_config_.context}).to(device);
}

ObjectiveLosses Contrast::losses(const Step& step) {
  const at::Tensor image = vision_projection_(step.tokens.cls.squeeze(1));                             // [B,K]
  const at::Tensor caption = text_projection_(text_(token_ids(step.batch.captions, image.device())));  // [B,K]
  ObjectiveLosses out{.total = contrastive_loss(image, caption, logit_scale_), .terms = {}, .health = {}};
  out.terms.emplace_back("scale", logit_scale_.detach().exp());
  if (step.context.diagnose) {
    const at::Tensor similarity = at::matmul(unit(image), unit(caption).t()).detach();
    const at::Tensor own = at::arange(similarity.size(0), similarity.options().dtype(at::kLong));
    out.health = {{"batch_accuracy", similarity.argmax(1).eq(own).to(at::kFloat).mean()},
                  {"rank", effective_rank(image)}};
  }
  return out;
}

bool Contrast::write_towers(const std::filesystem::path& folder, const Vit& vit, const BackboneConfig& config) const {
  const ClipConfig clip{
      .vision = config.vit, .text = text_config_, .embed = embed_, .stats = config.stats, .kernel = config.kernel};
  NamedTensors tensors = named_tensors(*vit, "vision.");
  for (auto& item : named_tensors(*this)) tensors.push_back(item);
  write_clip_folder(folder, clip, tensors);
  tokenizer_->save(folder);
  return true;
}

}  // namespace lacuna
