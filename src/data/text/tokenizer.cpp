#include "data/text/tokenizer.h"

#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/text/tokenizer_bytes.h"
#include "data/text/tokenizer_words.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr int kFixedTokens = 2 * 256 + 2;
constexpr std::size_t kShownCaption = 60;

// Ids by spelling.
class Spellings {
 public:
  using Id = MergeTable::Id;

  explicit Spellings(const VocabularyFile& files) : place_(files.place) {
    for (std::size_t i = 0; i < files.tokens.size(); ++i) {
      if (!ids_.emplace(files.tokens[i], static_cast<Id>(i)).second)
        fail_data(place_, ": the token '", printable(files.tokens[i]),
                  "' is there twice; each merge must make a new one");
    }
  }

  std::optional<Id> find(const std::string& token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  Id at(const std::string& token, const char* use) const {
    const auto id = find(token);
    if (!id)
      fail_data(place_, ": the vocabulary lacks '", printable(token), "', which is ", use,
                ". Take all files of one and the same CLIP tokenizer");
    return *id;
  }

  // Vocabularies name the marks as OpenAI or as OpenCLIP does, whatever the captions are cleaned like.
  Id mark(std::string_view openai, std::string_view open_clip, const char* use) const {
    const auto other = find(std::string(open_clip));
    return find(std::string(openai)) || !other ? at(std::string(openai), use) : *other;
  }

 private:
  std::string place_;
  std::unordered_map<std::string_view, Id> ids_;
};

MergeTable make_merges(const VocabularyFile& files, const Spellings& ids) {
  MergeTable::ByteIds bytes;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string& symbol = byte_symbol(static_cast<unsigned char>(byte));
    bytes.inner[byte] = ids.at(symbol, "the symbol of a byte");
    bytes.last[byte] = ids.at(symbol + std::string(kEndOfWord), "the symbol of a byte that ends a word");
  }
  MergeTable table(bytes, files.merges.size());
  for (const auto& [left, right] : files.merges) {
    const auto first = ids.at(left, "part of a merge"), second = ids.at(right, "part of a merge");
    table.add(first, second, ids.at(left + right, "the result of a merge"));
  }
  return table;
}

}  // namespace

Tokenizer::Tokenizer(VocabularyFile files) : files_(std::move(files)), merges_(make_merges(files_, Spellings(files_))) {
  const Spellings ids(files_);
  start_ = ids.mark(kOpenAiMarks.start, kOpenClipMarks.start, "the start of a text");
  end_ = ids.mark(kOpenAiMarks.end, kOpenClipMarks.end, "the end of a text");
  if (cleaning() == TextCleaning::kHuggingFace) pad_ = ids.find(files_.pad_token).value_or(end_);
}

Tokenizer Tokenizer::load(const std::filesystem::path& path, std::optional<TextCleaning> cleaning) {
  VocabularyFile files = read_vocabulary(path);
  files.cleaning = cleaning.value_or(files.cleaning.value_or(kDefaultCleaning));
  return Tokenizer(std::move(files));
}

Tokenizer Tokenizer::train(std::span<const std::string> texts, int vocab_size, TextCleaning cleaning) {
  check(vocab_size >= kFixedTokens && vocab_size <= static_cast<int>(kMaxVocabulary),
        "tokenizer: expected a vocabulary of ", kFixedTokens, " to ", kMaxVocabulary, " tokens, found ", vocab_size);
  WordCounts counts;
  for (const std::string& text : texts) {
    for_each_word(text, cleaning, [&](const Word& word) {
      if (word.kind == WordKind::kPlain) ++counts[std::string(word.text)];
    });
  }
  LearntMerges learnt = learn_merges(counts, static_cast<std::size_t>(vocab_size) - 2);
  VocabularyFile files{.place = "tokenizer", .tokens = std::move(learnt.tokens), .merges = std::move(learnt.merges)};
  files.tokens.insert(files.tokens.end(), {std::string(kOpenAiMarks.start), std::string(kOpenAiMarks.end)});
  files.cleaning = cleaning;
  return Tokenizer(std::move(files));
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  write_vocabulary(files_, token(start_), token(end_), folder);
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> out{start_};
  for_each_word(text, cleaning(), [&](const Word& word) {
    if (word.kind == WordKind::kPlain) {
      merges_.encode(word.text, out);
    } else {
      out.push_back(word.kind == WordKind::kStart ? start_ : end_);
    }
  });
  out.push_back(end_);
  return out;
}

std::vector<std::int64_t> Tokenizer::encode_padded(const std::string& text, int context, TooLong too_long) const {
  invariant(context >= 2, "Tokenizer::encode_padded: context ", context, " has no room for start and end");
  std::vector<std::int64_t> out = encode(text);
  const auto length = static_cast<std::size_t>(context);
  if (out.size() > length) {
    if (too_long == TooLong::kRefuse)
      fail_data("a caption has ", out.size(), " tokens, but a row has ", context, ": '", printable(text, kShownCaption),
                "'. Shorten it, raise text_tower.context, or set text_tower.too_long = cut");
    out[length - 1] = end_;
  }
  out.resize(length, pad_);
  return out;
}

}  // namespace lacuna
