#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndOfWord = "</w>";
constexpr const char* kStart = "<|startoftext|>";
constexpr const char* kEnd = "<|endoftext|>";
constexpr std::size_t kMaxVocabulary = 1 << 20;
constexpr std::uint64_t kMaxFile = 64 << 20;
constexpr int kFixedTokens = 2 * 256 + 2;
const std::string kVersionLine = "#version: 0.2";

std::string utf8(unsigned code) {  // below 0x800
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

bool is_printable_byte(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

// The printable spelling of each byte, and the bytes in the order of their ids: printable ones first.
struct ByteSpelling {
  std::array<std::string, 256> of;
  std::vector<unsigned> order;

  ByteSpelling() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (is_printable_byte(byte)) of[byte] = utf8(byte), order.push_back(byte);
    }
    unsigned next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (!is_printable_byte(byte)) of[byte] = utf8(next++), order.push_back(byte);
    }
  }
};

const ByteSpelling& spelling() {
  static const ByteSpelling kSpelling;
  return kSpelling;
}

bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
bool is_letter(unsigned char c) { return (c >= 'a' && c <= 'z') || c >= 0x80; }

std::string lowered(const std::string& text) {
  std::string out = text;
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::size_t contraction_at(const std::string& text, std::size_t at) {
  for (const char* ending : {"'re", "'ve", "'ll", "'s", "'t", "'m", "'d"}) {
    if (text.compare(at, std::string_view(ending).size(), ending) == 0) return std::string_view(ending).size();
  }
  return 0;
}

// The words of a lower-cased text.
std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (is_space(c)) {
      ++at;
      continue;
    }
    std::size_t end = at + 1;
    if (const std::size_t length = contraction_at(text, at)) {
      end = at + length;
    } else if (is_letter(c)) {
      while (end < text.size() && is_letter(static_cast<unsigned char>(text[end]))) ++end;
    } else if (!is_digit(c)) {
      const auto other = [&](std::size_t i) {
        const auto d = static_cast<unsigned char>(text[i]);
        return !is_space(d) && !is_letter(d) && !is_digit(d);
      };
      while (end < text.size() && other(end)) ++end;
    }
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

// The word's bytes in their printable spelling, the last with the end-of-word mark.
std::vector<std::string> symbols_of(const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.push_back(spelling().of[static_cast<unsigned char>(c)]);
  symbols.back() += kEndOfWord;
  return symbols;
}

void merge_pair(std::vector<std::string>& symbols, const std::string& left, const std::string& right) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right) {
      out.push_back(left + right);
      ++i;
    } else {
      out.push_back(symbols[i]);
    }
  }
  symbols = std::move(out);
}

std::vector<std::string> fixed_tokens() {
  std::vector<std::string> tokens;
  for (const unsigned byte : spelling().order) tokens.push_back(spelling().of[byte]);
  for (std::size_t i = 0; i < 256; ++i) tokens.push_back(tokens[i] + kEndOfWord);
  return tokens;
}

using Pair = std::pair<std::string, std::string>;

std::optional<Pair> most_frequent_pair(const std::map<std::vector<std::string>, std::int64_t>& words) {
  std::map<Pair, std::int64_t> counts;
  for (const auto& [symbols, count] : words) {
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) counts[{symbols[i], symbols[i + 1]}] += count;
  }
  if (counts.empty()) return std::nullopt;
  return std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
}

std::vector<std::string> read_vocabulary(const fs::path& path) {
  const nlohmann::json json = read_json(path, kMaxFile);
  check(json.is_object() && json.size() <= kMaxVocabulary, path.string(), ": expected an object of at most ", kMaxVocabulary, " tokens");
  std::vector<std::string> tokens(json.size());
  for (const auto& [token, id] : json.items()) {
    check(id.is_number_unsigned() && id.get<std::uint64_t>() < tokens.size() && tokens[id.get<std::size_t>()].empty() && !token.empty(), path.string(), ": token '", printable(token),
          "' has the id ", id.dump(), "; expected each number below ", tokens.size(), " once");
    tokens[id.get<std::size_t>()] = token;
  }
  return tokens;
}

std::vector<Pair> read_merges(const fs::path& path) {
  std::vector<Pair> merges;
  const std::string content = read_file(path, kMaxFile);
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    check(space != std::string::npos && space > 0 && space + 1 < line.size() && line.find(' ', space + 1) == std::string::npos, path.string(), ":", line_number,
          ": expected two symbols and one space between them, found '", printable(line), "'");
    check(merges.size() < kMaxVocabulary, path.string(), ": more than ", kMaxVocabulary, " merges");
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

}  // namespace

Tokenizer::Tokenizer(std::vector<std::string> tokens, std::vector<Pair> merges) : tokens_(std::move(tokens)), merges_(std::move(merges)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<std::int64_t>(i));
  for (std::size_t i = 0; i < merges_.size(); ++i) {
    check(ids_.contains(merges_[i].first + merges_[i].second), "tokenizer: the merge '", printable(merges_[i].first), " ", printable(merges_[i].second), "' makes a token that the vocabulary lacks");
    ranks_.emplace(merges_[i].first + " " + merges_[i].second, i);
  }
  for (const std::string& token : fixed_tokens()) check(ids_.contains(token), "tokenizer: the vocabulary lacks the byte symbol '", printable(token), "'");
  check(ids_.contains(kStart) && ids_.contains(kEnd), "tokenizer: the vocabulary lacks ", kStart, " or ", kEnd);
  start_ = ids_.at(kStart);
  end_ = ids_.at(kEnd);
}

Tokenizer Tokenizer::load(const fs::path& folder) {
  for (const char* name : {"vocab.json", "merges.txt"})
    check(fs::exists(folder / name), folder.string(), ": ", name, " is missing; expected a tokenizer's vocab.json and merges.txt");
  return Tokenizer(read_vocabulary(folder / "vocab.json"), read_merges(folder / "merges.txt"));
}

Tokenizer Tokenizer::train(std::span<const std::string> texts, int vocab_size) {
  check(vocab_size >= kFixedTokens, "tokenizer: a vocabulary needs at least ", kFixedTokens, " tokens, found ", vocab_size);
  std::map<std::vector<std::string>, std::int64_t> words;
  for (const std::string& text : texts) {
    for (const std::string& word : split_words(lowered(text))) ++words[symbols_of(word)];
  }
  std::vector<Pair> merges;
  std::vector<std::string> tokens = fixed_tokens();
  while (static_cast<int>(tokens.size()) + 2 < vocab_size) {
    const auto pair = most_frequent_pair(words);
    if (!pair) break;
    merges.push_back(*pair);
    const std::string token = pair->first + pair->second;  // two pairs may spell the same token
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    std::map<std::vector<std::string>, std::int64_t> merged;
    for (const auto& [symbols, count] : words) {
      std::vector<std::string> shorter = symbols;
      merge_pair(shorter, pair->first, pair->second);
      merged[std::move(shorter)] += count;
    }
    words = std::move(merged);
  }
  tokens.insert(tokens.end(), {kStart, kEnd});
  return Tokenizer(std::move(tokens), std::move(merges));
}

void Tokenizer::save(const fs::path& folder) const {
  fs::create_directories(folder);
  nlohmann::json vocabulary = nlohmann::json::object();
  for (std::size_t i = 0; i < tokens_.size(); ++i) vocabulary[tokens_[i]] = i;
  std::string merges = kVersionLine + "\n";
  for (const auto& [left, right] : merges_) merges += left + " " + right + "\n";
  write_file_atomic(folder / "merges.txt", merges);
  write_json_atomic(folder / "vocab.json", vocabulary);
  write_json_atomic(folder / "tokenizer_config.json", {{"tokenizer_class", "CLIPTokenizer"}, {"bos_token", kStart}, {"eos_token", kEnd}, {"unk_token", kEnd}, {"pad_token", kEnd}});
}

std::vector<std::string> Tokenizer::merge_word(const std::string& word) const {
  std::vector<std::string> symbols = symbols_of(word);
  while (symbols.size() > 1) {
    std::size_t best_rank = std::numeric_limits<std::size_t>::max(), best = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks_.find(symbols[i] + " " + symbols[i + 1]);
      if (found != ranks_.end() && found->second < best_rank) best_rank = found->second, best = i;
    }
    if (best_rank == std::numeric_limits<std::size_t>::max()) break;
    const Pair pair{symbols[best], symbols[best + 1]};
    merge_pair(symbols, pair.first, pair.second);
  }
  return symbols;
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> out{start_};
  for (const std::string& word : split_words(lowered(text))) {
    for (const std::string& symbol : merge_word(word)) out.push_back(ids_.at(symbol));
  }
  out.push_back(end_);
  return out;
}

std::vector<std::int64_t> Tokenizer::encode_padded(const std::string& text, int context) const {
  std::vector<std::int64_t> out = encode(text);
  if (std::ssize(out) > context) out[static_cast<std::size_t>(context) - 1] = end_;
  out.resize(static_cast<std::size_t>(context), end_);
  return out;
}

}  // namespace lacuna
