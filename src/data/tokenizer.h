#pragma once
// CLIP's byte-pair encoding of captions (Radford et al., 2021; Sennrich et al., 2016).
//
// A text is lower-cased, its whitespace squeezed, and cut into words: runs of letters, single digits, runs of other
// signs, and the English contractions. A word's bytes are merged pair by pair, the earliest learnt pair first. Code
// points outside ASCII count as letters. Non-goal: repairing broken Unicode and HTML entities before that, as OpenAI's
// cleaning does.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace lacuna {

class Tokenizer {
 public:
  // vocab.json and merges.txt, as Hugging Face's CLIP folders have them. Throws Error that names file and fault.
  static Tokenizer load(const std::filesystem::path& folder);

  // Learns merges from the texts until the vocabulary has `vocab_size` tokens (at least 514: the bytes, with and without
  // the end of a word, and start and end of a text) or no pair is left.
  static Tokenizer train(std::span<const std::string> texts, int vocab_size);

  void save(const std::filesystem::path& folder) const;

  std::vector<std::int64_t> encode(const std::string& text) const;  // with start and end
  // Exactly `context` ids: cut so that the end stays last, or filled up with the end id.
  std::vector<std::int64_t> encode_padded(const std::string& text, int context) const;

  int vocab_size() const { return static_cast<int>(tokens_.size()); }
  std::int64_t start_id() const { return start_; }
  std::int64_t end_id() const { return end_; }

 private:
  Tokenizer(std::vector<std::string> tokens, std::vector<std::pair<std::string, std::string>> merges);

  std::vector<std::string> merge_word(const std::string& word) const;

  std::vector<std::string> tokens_;                            // by id, in CLIP's printable spelling of bytes
  std::vector<std::pair<std::string, std::string>> merges_;    // earliest first
  std::unordered_map<std::string, std::int64_t> ids_;
  std::unordered_map<std::string, std::size_t> ranks_;         // of "left right"
  std::int64_t start_ = 0, end_ = 0;
};

}  // namespace lacuna
