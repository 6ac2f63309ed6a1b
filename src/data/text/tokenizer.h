#pragma once
// CLIP's byte-pair encoding of captions (Radford et al., 2021; Sennrich et al., 2016).
//
// A caption is cleaned (text_clean.h) and cut into words (tokenizer_words.h); a word's bytes are merged pair by pair,
// the earliest learnt pair first. A vocabulary that is learnt here is laid out as CLIP's: 256 bytes, 256 bytes that end
// a word, the merges, start, end.
//
// Immutable after construction and safe to call from many threads at once. Every string of bytes can be encoded.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/config_fields.h"
#include "data/text/clean.h"
#include "data/text/tokenizer_files.h"
#include "data/text/tokenizer_merges.h"

namespace lacuna {

// What becomes of a caption that does not fit its row.
enum class TooLong { kCut, kRefuse };

inline constexpr Named<TooLong> kTooLong[] = {
    {TooLong::kCut, "cut", "keeps the beginning and puts the end in the last place"},
    {TooLong::kRefuse, "refuse", "ends the run with exit code 3 and names the caption"},
};

class Tokenizer {
 public:
  // Any layout that tokenizer_files.h lists. Without `cleaning` that of the folder's tokenizer_config.json, where
  // Lacuna wrote it, else kDefaultCleaning. Throws Error that names file and fault.
  static Tokenizer load(const std::filesystem::path& path, std::optional<TextCleaning> cleaning = {});

  // Learns merges from the texts until the vocabulary has `vocab_size` tokens (at least 514: the bytes, with and
  // without the end of a word, and start and end of a text) or no pair is left. Among equally frequent pairs the first
  // in the order of their spelling is learnt, so the order of the texts does not matter.
  static Tokenizer train(std::span<const std::string> texts, int vocab_size, TextCleaning cleaning = kDefaultCleaning);

  // vocab.json, merges.txt and tokenizer_config.json; transformers opens the folder as a CLIPTokenizer.
  void save(const std::filesystem::path& folder) const;

  // With start and end; just these for an empty caption.
  std::vector<std::int64_t> encode(const std::string& text) const;
  // Exactly `context` ids (at least 2), filled up with pad_id(). A text that is cut keeps the end as its last id.
  // TooLong::kRefuse throws Error(kBadData) instead.
  std::vector<std::int64_t> encode_padded(const std::string& text, int context, TooLong too_long = TooLong::kCut) const;

  int vocab_size() const { return static_cast<int>(files_.tokens.size()); }
  std::int64_t start_id() const { return start_; }
  std::int64_t end_id() const { return end_; }
  // What rows are filled with: 0 as OpenAI's and OpenCLIP's code does, although that is also the token "!"; with
  // kHuggingFace the pad token of tokenizer_config.json, else the end. Find a text's end at its first end_id().
  std::int64_t pad_id() const { return pad_; }
  TextCleaning cleaning() const { return *files_.cleaning; }

  // As the files spell it: bytes as printable characters, </w> at the end of a word.
  const std::string& token(std::int64_t id) const { return files_.tokens.at(static_cast<std::size_t>(id)); }
  std::span<const MergeSpelling> merges() const { return files_.merges; }

 private:
  explicit Tokenizer(VocabularyFile files);  // its cleaning is set

  VocabularyFile files_;
  MergeTable merges_;
  std::int64_t start_ = 0, end_ = 0, pad_ = 0;
};

}  // namespace lacuna
