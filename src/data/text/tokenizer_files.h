#pragma once
// The files that vocabularies of CLIP come in.
//
//   folder                          with one of the three below, in this order
//   vocab.json and merges.txt       transformers; either file names the pair
//   tokenizer.json                  transformers' fast tokenizers: model type BPE, end_of_word_suffix </w>
//   bpe_simple_vocab_16e6.txt.gz    OpenAI and OpenCLIP, also unpacked: a version line, then merges. The first 48,894
//   are
//                                   CLIP's; ids follow from their order (bytes, bytes that end a word, merges, marks)
//
// A tokenizer_config.json beside them may name the pad token and, written by Lacuna, the cleaning.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/text/clean.h"
#include "data/text/tokenizer_learn.h"

namespace lacuna {

inline constexpr std::size_t kMaxVocabulary = 1 << 20;

struct VocabularyFile {
  std::string place;                // file or folder, for messages
  std::vector<std::string> tokens;  // by id, in the printable spelling of bytes (tokenizer_bytes.h)
  std::vector<MergeSpelling> merges;
  std::optional<TextCleaning> cleaning;
  std::string pad_token;  // empty: not said
};

// Throws Error that names file and key, what was expected and found. Nothing larger than 16 MiB (64 MiB unpacked) or
// with more than kMaxVocabulary tokens or merges is read.
VocabularyFile read_vocabulary(const std::filesystem::path& path);

// vocab.json, merges.txt and tokenizer_config.json, which transformers opens as a CLIPTokenizer.
void write_vocabulary(const VocabularyFile& vocabulary, const std::string& start, const std::string& end,
                      const std::filesystem::path& folder);

}  // namespace lacuna
