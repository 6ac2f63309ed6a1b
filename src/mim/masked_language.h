#pragma once
// Masked language modelling on the captions alone (MaskCLIP, maskclip.md section 1): some words are hidden, the text
// tower reads the rest, a small decoder says which words they were.

#include "mim/objective.h"
#include "mim/text_student.h"

namespace lacuna {

enum class WordCount { kEach, kExact };
inline constexpr Named<WordCount> kWordCounts[] = {
    {WordCount::kEach, "each", "every word by itself with this probability"},
    {WordCount::kExact, "exact", "the nearest whole number of words, at least one (BERT)"}};

struct MaskedLanguageConfig {
  double ratio = 0.2;
  WordCount count = WordCount::kEach;
  double mask_share = 0.8;    // of the chosen words: replaced by the mask embedding
  double random_share = 0.1;  // replaced by another word; the rest stays as it is
  int64_t depth = 4;
  std::optional<int64_t> heads;
  bool causal = false;
  bool tied = true;

  void fields(Fields& f);
};

enum class WordAction : uint8_t { kNone = 0, kMask = 1, kRandom = 2, kKeep = 3 };

// What happens to a batch of captions.
struct WordMask {
  at::Tensor ids;     // [B,C] int64, random words put in
  at::Tensor action;  // [B,C] uint8, WordAction
};

// The uniform numbers behind a mask, all [B,C].
struct WordDraws {
  at::Tensor select, action;  // [0,1)
  at::Tensor random_ids;      // int64
};

// Candidates are the words strictly between start and end token; `end` [B]. Chosen where `select` is below the ratio,
// or, for an exact count, the k = max(1, round(ratio n)) smallest of n candidates.
WordMask mask_words(const at::Tensor& ids, const at::Tensor& end, const WordDraws& draws,
                    const MaskedLanguageConfig& config);

// Draws named by seed, epoch and sample. Random words are any of the vocabulary but `start` and `end`; negative ones
// stand for the last two.
WordDraws draw_words(int64_t context, int64_t vocabulary, uint64_t seed, uint64_t epoch,
                     std::span<const int64_t> samples, at::Device device, int64_t start = -1, int64_t end = -1);

class MaskedLanguage : public Objective {
 public:
  MaskedLanguage(std::string name, double weight, const MaskedLanguageConfig& config, TextStudent text);

  Needs needs() const override { return {.captions = true}; }
  ObjectiveLosses losses(const Step& step) override;
  std::string describe() const override;

  // [B,C,vocabulary]; `end` of the unmasked ids.
  at::Tensor logits(const WordMask& mask, const at::Tensor& end);
  // Mean over all chosen words of all ranks; 0 with zero gradient when there are none.
  at::Tensor loss(const at::Tensor& ids, const WordMask& mask, const Ranks& ranks = one_rank());

  at::Tensor mask_embedding;  // [D], not a word: the vocabulary has none for it
  torch::nn::ModuleList blocks;
  LayerNorm norm{nullptr};  // null when the tower's own tokens are read (depth 0)
  Linear head{nullptr};     // null when tied to the token embedding
  at::Tensor word_bias;     // [vocabulary]

 private:
  MaskedLanguageConfig config_;
  TextStudent text_;  // the method's; not registered here
};

}  // namespace lacuna
