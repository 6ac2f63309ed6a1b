#pragma once
// CLIP's byte-pair encoding of captions (Radford et al., 2021; Sennrich et al., 2016).
//
// A text is unescaped, lower-cased and cut into words: runs of letters, single digits, runs of other signs, the English
// contractions, and the literal marks of start and end. A word's bytes are merged pair by pair, the earliest learnt
// pair first. The vocabulary is laid out as CLIP's: 256 bytes, 256 bytes that end a word, the merges, start, end.
//
// Equal to OpenAI's tokenizer on ASCII, but for two steps of its cleaning: control characters stay, and of HTML's
// entities only &amp; &lt; &gt; &quot; &apos; and numbers are undone. Beyond ASCII each code point counts as a letter
// and keeps its case. Non-goal: repairing broken Unicode.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lacuna {

class Tokenizer {
 public:
  // vocab.json and merges.txt, as Hugging Face's CLIP folders have them. Throws Error that names file and fault.
  static Tokenizer load(const std::filesystem::path& folder);

  // Learns merges from the texts until the vocabulary has `vocab_size` tokens (at least 514: the bytes, with and
  // without the end of a word, and start and end of a text) or no pair is left. Among equally frequent pairs the first
  // in the order of their spelling is learnt, so the order of the texts does not matter.
  static Tokenizer train(std::span<const std::string> texts, int vocab_size);

  void save(const std::filesystem::path& folder) const;

  std::vector<std::int64_t> encode(const std::string& text) const;  // with start and end
  // Exactly `context` ids (at least 2): cut so that the end stays last, or filled up with the end id.
  std::vector<std::int64_t> encode_padded(const std::string& text, int context) const;

  int vocab_size() const { return static_cast<int>(tokens_.size()); }
  std::int64_t start_id() const { return start_; }
  std::int64_t end_id() const { return end_; }

 private:
  using Id = std::int32_t;
  using Spelling = std::pair<std::string, std::string>;  // of a merge's two parts

  struct Merge {
    std::size_t rank;
    Id token;
  };

  // `name` opens the messages of faults.
  Tokenizer(const std::string& name, std::vector<std::string> tokens, std::vector<Spelling> merges);

  const Merge* find_merge(Id left, Id right) const;
  void append_word(std::string_view word, std::vector<std::int64_t>& out) const;

  std::vector<std::string> tokens_;                 // by id, in CLIP's printable spelling of bytes
  std::vector<Spelling> merges_;                    // earliest first
  std::unordered_map<std::uint64_t, Merge> pairs_;  // by the two ids, left in the high half
  std::array<Id, 256> inner_{}, last_{};            // ids of a byte inside a word, and at its end
  Id start_ = 0, end_ = 0;
};

}  // namespace lacuna
