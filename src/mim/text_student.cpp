#include "mim/text_student.h"

#include "nn/weights/vit_fields.h"

namespace lacuna {
namespace {

TextConfig with_vocabulary(TextConfig config, const Tokenizer& tokenizer) {
  config.vocabulary = tokenizer.vocab_size();
  config.end_id = tokenizer.end_id();
  config.hidden = 4 * config.width;
  return config;
}

}  // namespace

void TextTowerConfig::fields(Fields& f) {
  TextConfig& c = tower;
  f.add("width", c.width, {.help = "width of the text tower", .unit = "channels", .min = 4, .max = 65536});
  f.add("depth", c.depth, {.help = "blocks of the text tower", .unit = "blocks", .min = 1, .max = 1024});
  f.add("heads", c.heads, {.help = "attention heads of the text tower", .min = 1, .max = 1024});
  f.add("activation", c.activation, kActivations, {.help = "non-linearity of the text tower's MLPs"});
  f.add("context", c.context,
        {.help = "length captions are cut or padded to", .unit = "tokens", .min = 4, .max = 4096});
  f.add("too_long", too_long, kTooLong, {.help = "captions longer than the context"});
  f.add("causal", c.causal, {.help = "each word sees only those before it, as in CLIP"});
}

TextStudentImpl::TextStudentImpl(const TextTowerConfig& config, std::shared_ptr<const Tokenizer> tokenizer)
    : tower(register_module("tower", TextTower(with_vocabulary(config.tower, *tokenizer)))),
      tokenizer_(std::move(tokenizer)),
      too_long_(config.too_long) {}

at::Tensor TextStudentImpl::ids(const std::vector<std::string>& captions, at::Device device) const {
  const int64_t context = tower->config().context;
  std::vector<int64_t> ids;
  for (const std::string& caption : captions) {
    const auto row = tokenizer_->encode_padded(caption, static_cast<int>(context), too_long_);
    ids.insert(ids.end(), row.begin(), row.end());
  }
  return torch::tensor(ids, at::kLong).view({static_cast<int64_t>(captions.size()), context}).to(device);
}

}  // namespace lacuna
