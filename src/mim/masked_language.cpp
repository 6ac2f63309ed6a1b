#include "mim/masked_language.h"

#include <cmath>

#include "base/error.h"
#include "nn/block.h"

namespace lacuna {
namespace {

at::Tensor candidates(const at::Tensor& ids, const at::Tensor& end) {  // [B,C] bool
  const at::Tensor place = at::arange(ids.size(1), ids.options()).unsqueeze(0);
  return place.gt(0).logical_and(place.lt(end.unsqueeze(1)));
}

// The k smallest draws of each row's n candidates.
at::Tensor choose_exactly(const at::Tensor& candidate, const at::Tensor& draws, double ratio) {
  const at::Tensor count = candidate.sum(1, true);  // [B,1]
  const at::Tensor wanted = at::round(count.to(at::kDouble) * ratio).clamp_min(1).to(at::kLong).minimum(count);
  const at::Tensor order = draws.masked_fill(candidate.logical_not(), INFINITY).argsort(-1, /*descending=*/false);
  const at::Tensor rank =
      at::empty_like(order).scatter(1, order, at::arange(order.size(1), order.options()).expand_as(order));
  return candidate.logical_and(rank.lt(wanted));
}

}  // namespace

void MaskedLanguageConfig::fields(Fields& f) {
  f.add("ratio", ratio, {.help = "share of the words that is hidden", .min = 0, .max = 1, .above_min = true});
  f.add("count", count, kWordCounts, {.help = "how the share becomes words"});
  f.add("mask_share", mask_share,
        {.help = "share of the chosen words that the mask embedding replaces", .min = 0, .max = 1});
  f.add("random_share", random_share,
        {.help = "share that another word replaces; what is left stays as it is", .min = 0, .max = 1});
  f.add("depth", depth,
        {.help = "blocks of the text decoder; 0 reads the tower's own tokens", .unit = "blocks", .min = 0, .max = 64});
  f.add("heads", heads, {.help = "attention heads of the text decoder; auto is the tower's", .min = 1, .max = 1024});
  f.add("causal", causal, {.help = "the decoder, too, sees only earlier words"});
  f.add("tied", tied, {.help = "words are told apart by their embeddings; else by a matrix of its own"});
}

WordMask mask_words(const at::Tensor& ids, const at::Tensor& end, const WordDraws& draws,
                    const MaskedLanguageConfig& config) {
  const at::Tensor candidate = candidates(ids, end);
  const at::Tensor chosen = config.count == WordCount::kExact ? choose_exactly(candidate, draws.select, config.ratio)
                                                              : candidate.logical_and(draws.select.lt(config.ratio));
  const at::Tensor masked = draws.action.lt(config.mask_share);
  const at::Tensor random = draws.action.lt(config.mask_share + config.random_share).logical_and(masked.logical_not());
  WordMask out{
      .ids = at::where(chosen.logical_and(random), draws.random_ids, ids),
      .action = at::full(ids.sizes(), static_cast<int64_t>(WordAction::kKeep), ids.options().dtype(at::kByte))};
  out.action.masked_fill_(masked, static_cast<int64_t>(WordAction::kMask));
  out.action.masked_fill_(random, static_cast<int64_t>(WordAction::kRandom));
  out.action.masked_fill_(chosen.logical_not(), static_cast<int64_t>(WordAction::kNone));
  return out;
}

WordDraws draw_words(int64_t context, int64_t vocabulary, uint64_t seed, uint64_t epoch,
                     std::span<const int64_t> samples, at::Device device, int64_t start, int64_t end) {
  const auto batch = static_cast<int64_t>(samples.size());
  const int64_t lower = start < 0 ? vocabulary - 2 : std::min(start, end);
  const int64_t upper = start < 0 ? vocabulary - 1 : std::max(start, end);
  WordDraws out{.select = at::empty({batch, context}, at::kDouble),
                .action = at::empty({batch, context}, at::kDouble),
                .random_ids = at::empty({batch, context}, at::kLong)};
  for (int64_t b = 0; b < batch; ++b) {
    Rng rng(seed, Purpose::kTextMask, epoch, static_cast<uint64_t>(samples[static_cast<size_t>(b)]));
    for (int64_t c = 0; c < context; ++c) {
      const int64_t i = b * context + c;
      out.select.data_ptr<double>()[i] = rng.uniform();
      out.action.data_ptr<double>()[i] = rng.uniform();
      const int64_t word = rng.integer(0, vocabulary - 3);  // among all but the two, which are then stepped over
      out.random_ids.data_ptr<int64_t>()[i] = word < lower ? word : word + 1 < upper ? word + 1 : word + 2;
    }
  }
  return {.select = out.select.to(device), .action = out.action.to(device), .random_ids = out.random_ids.to(device)};
}

MaskedLanguage::MaskedLanguage(std::string name, double weight, const MaskedLanguageConfig& config, TextStudent text)
    : Objective(std::move(name), weight),
      blocks(register_module("blocks", torch::nn::ModuleList())),
      config_(config),
      text_(std::move(text)) {
  const TextConfig& t = text_->tower->config();
  check(config.mask_share + config.random_share <= 1, "objective '", objective_name(), "': words.mask_share ",
        config.mask_share, " and words.random_share ", config.random_share, " are more than all chosen words");
  mask_embedding = register_parameter("mask_embedding", torch::empty({t.width}));
  word_bias = register_parameter("word_bias", torch::empty({t.vocabulary}));
  const int64_t heads = config.heads.value_or(t.heads);
  check(t.width % heads == 0, "objective '", objective_name(), "': the text tower's width ", t.width,
        " is not divisible into ", heads, " heads; set words.heads");
  for (int64_t i = 0; i < config.depth; ++i)
    blocks->push_back(Block(BlockConfig{.width = t.width,
                                        .heads = heads,
                                        .hidden = t.hidden,
                                        .activation = t.activation,
                                        .norm_eps = t.norm_eps,
                                        .causal = config.causal}));
  if (config.depth > 0) norm = register_module("norm", LayerNorm(t.width, t.norm_eps));
  if (!config.tied) head = register_module("head", Linear(t.width, t.vocabulary, false));
}

std::string MaskedLanguage::describe() const {
  return text(100 * config_.ratio, " % of the caption's words hidden -> text tower -> ", config_.depth,
              " decoder blocks -> cross entropy over ", text_->tower->config().vocabulary, " words, weight ", weight());
}

at::Tensor MaskedLanguage::logits(const WordMask& mask, const at::Tensor& end) {
  TextTowerImpl& tower = *text_->tower;
  const at::Tensor hidden = mask.action.eq(static_cast<int64_t>(WordAction::kMask)).unsqueeze(2);  // [B,C,1]
  const at::Tensor words = at::embedding(tower.token_embedding, mask.ids);
  at::Tensor x = tower.encode(at::where(hidden, mask_embedding.to(words.scalar_type()), words) + tower.pos_embed, end);
  const at::Tensor bias = config_.causal ? at::Tensor() : keys_up_to(end, x.size(1), x.options());
  for (const auto& block : *blocks) x = block->as<BlockImpl>()->forward(x, 0, nullptr, bias);
  if (norm) x = norm(x);
  return at::linear(x, head ? head->weight : tower.token_embedding, word_bias);
}

at::Tensor MaskedLanguage::loss(const at::Tensor& ids, const WordMask& mask, const Ranks& ranks) {
  const at::Tensor end = text_->tower->end_places(ids);
  const at::Tensor all = logits(mask, end);
  const at::Tensor wide = all.scalar_type() == at::kDouble ? all : all.to(at::kFloat);
  const at::Tensor chosen = mask.action.ne(static_cast<int64_t>(WordAction::kNone)).to(wide.scalar_type());  // [B,C]
  const at::Tensor per_word = -at::log_softmax(wide, -1).gather(-1, ids.unsqueeze(2)).squeeze(2);
  // The average over ranks of this is the mean over all ranks' words, which the mean of local means is not.
  const at::Tensor count = ranks.sum(chosen.sum().detach());
  return static_cast<double>(ranks.world()) * (per_word * chosen).sum() / count.clamp_min(1);
}

ObjectiveLosses MaskedLanguage::losses(const Step& step) {
  const TextConfig& t = text_->tower->config();
  const WordDraws draws =
      draw_words(t.context, t.vocabulary, step.context.seed, static_cast<uint64_t>(step.batch.epoch), step.batch.ids,
                 step.text_ids.device(), text_->tokenizer().start_id(), t.end_id);
  const WordMask mask = mask_words(step.text_ids, text_->tower->end_places(step.text_ids), draws, config_);
  step.note("words", mask.ids);
  step.note("word_action", mask.action);
  return {.total = loss(step.text_ids, mask, *step.context.ranks), .terms = {}, .health = {}};
}

}  // namespace lacuna
