#include "data/tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>
#include <set>
#include <tuple>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEndOfWord = "</w>";
constexpr std::string_view kStart = "<|startoftext|>";
constexpr std::string_view kEnd = "<|endoftext|>";
constexpr std::string_view kVersionLine = "#version: 0.2";
constexpr std::size_t kMaxVocabulary = 1 << 20;
constexpr std::uint64_t kMaxFile = 64 << 20;
constexpr int kFixedTokens = 2 * 256 + 2;

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

std::string utf8(std::uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | (code >> 6)), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | (code >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

// ---- Bytes as printable code points ----

bool is_printable_byte(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The printable spelling of each byte, and the bytes in the order of their ids: printable ones first.
struct ByteSpelling {
  std::array<std::string, 256> of;
  std::vector<unsigned> order;

  ByteSpelling() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (is_printable_byte(byte)) add(byte, byte);
    }
    std::uint32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (!is_printable_byte(byte)) add(byte, next++);
    }
  }

 private:
  void add(unsigned byte, std::uint32_t code) {
    of[byte] = utf8(code);
    order.push_back(byte);
  }
};

const ByteSpelling& spelling() {
  static const ByteSpelling kSpelling;
  return kSpelling;
}

std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  for (const unsigned byte : spelling().order) tokens.push_back(spelling().of[byte]);
  for (std::size_t i = 0; i < 256; ++i) tokens.push_back(tokens[i] + std::string(kEndOfWord));
  return tokens;
}

// ---- Text to words ----

// The code point of "#39" or "#x27"; nothing for what is no printable code point.
std::optional<std::uint32_t> numeric_entity(std::string_view entity) {
  if (entity.size() < 2 || entity.size() > 9 || entity[0] != '#') return std::nullopt;
  const bool hex = entity[1] == 'x' || entity[1] == 'X';
  const std::string digits(entity.substr(hex ? 2 : 1));
  const char* allowed = hex ? "0123456789abcdefABCDEF" : "0123456789";
  if (digits.empty() || digits.find_first_not_of(allowed) != std::string::npos) return std::nullopt;
  const unsigned long code = std::stoul(digits, nullptr, hex ? 16 : 10);
  const bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (control || surrogate || code > 0x10FFFF) return std::nullopt;
  return static_cast<std::uint32_t>(code);
}

std::optional<std::string> entity_text(std::string_view entity) {
  constexpr std::array<std::pair<std::string_view, char>, 5> kNamed{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [name, sign] : kNamed) {
    if (entity == name) return std::string(1, sign);
  }
  const auto code = numeric_entity(entity);
  return code ? std::optional(utf8(*code)) : std::nullopt;
}

std::string unescaped(std::string_view text) {
  constexpr std::size_t kLongest = 10;  // "#x0010FFFF"
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = text[at] == '&' ? text.substr(at + 1, kLongest + 1).find(';') : std::string_view::npos;
    const auto plain = length == std::string_view::npos ? std::nullopt : entity_text(text.substr(at + 1, length));
    out += plain ? *plain : std::string(1, text[at]);
    at += plain ? length + 2 : 1;
  }
  return out;
}

// Unescaped twice, as captions from the web often were escaped twice, and in lower case.
std::string cleaned(const std::string& text) {
  std::string out = text.find('&') == std::string::npos ? text : unescaped(unescaped(text));
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

enum class Sign { kSpace, kLetter, kDigit, kOther };

Sign sign_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return Sign::kSpace;
  if ((byte >= 'a' && byte <= 'z') || byte >= 0x80) return Sign::kLetter;
  return byte >= '0' && byte <= '9' ? Sign::kDigit : Sign::kOther;
}

// Length of the word that begins at the text's first byte, which is no space.
std::size_t word_length(std::string_view text) {
  for (const std::string_view literal : {kStart, kEnd}) {
    if (text.starts_with(literal)) return literal.size();
  }
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(contraction)) return contraction.size();
  }
  const Sign sign = sign_of(text.front());
  if (sign == Sign::kDigit) return 1;
  std::size_t length = 1;
  while (length < text.size() && sign_of(text[length]) == sign) ++length;
  return length;
}

// Calls visit(word) for each word of a cleaned text.
template <class Visit>
void for_each_word(std::string_view text, Visit visit) {
  while (!text.empty()) {
    if (sign_of(text.front()) == Sign::kSpace) {
      text.remove_prefix(1);
      continue;
    }
    const std::size_t length = word_length(text);
    visit(text.substr(0, length));
    text.remove_prefix(length);
  }
}

// ---- Learning merges ----

class MergeLearner {
 public:
  explicit MergeLearner(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<int>(i));
  }

  void add_word(std::string_view word, std::int64_t count) {
    std::vector<int> symbols;
    for (const char c : word) symbols.push_back(ids_.at(spelling().of[static_cast<unsigned char>(c)]));
    symbols.back() = ids_.at(tokens_[static_cast<std::size_t>(symbols.back())] + std::string(kEndOfWord));
    words_.push_back({std::move(symbols), count});
    count_pairs(words_.size() - 1, +1);
  }

  void learn(std::size_t vocabulary) {
    std::priority_queue<Candidate, std::vector<Candidate>, std::function<bool(const Candidate&, const Candidate&)>>
        queue([this](const Candidate& a, const Candidate& b) { return less(a, b); });
    for (const auto& [pair, uses] : uses_) queue.push({uses.count, pair});
    while (tokens_.size() < vocabulary && !queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      const std::int64_t count = uses_.at(best.pair).count;
      if (count == best.count) {
        for (const Pair& pair : merge(best.pair)) queue.push({uses_.at(pair).count, pair});
      } else if (count > 0 && count < best.count) {
        queue.push({count, best.pair});  // lost some uses since it was queued; gains are queued anew
      }
    }
  }

  std::vector<std::string> take_tokens() { return std::move(tokens_); }
  std::vector<std::pair<std::string, std::string>> take_merges() { return std::move(merges_); }

 private:
  using Pair = std::pair<int, int>;

  struct Word {
    std::vector<int> symbols;
    std::int64_t count;
  };
  struct Uses {
    std::int64_t count = 0;
    std::vector<std::size_t> words;  // where the pair is or was
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
  };

  const std::string& spelled(int id) const { return tokens_[static_cast<std::size_t>(id)]; }

  bool less(const Candidate& a, const Candidate& b) const {
    if (a.count != b.count) return a.count < b.count;
    return std::tie(spelled(a.pair.first), spelled(a.pair.second)) >
           std::tie(spelled(b.pair.first), spelled(b.pair.second));
  }

  void count_pairs(std::size_t index, int direction) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      Uses& uses = uses_[{word.symbols[i], word.symbols[i + 1]}];
      uses.count += direction * word.count;
      if (direction > 0 && (uses.words.empty() || uses.words.back() != index)) uses.words.push_back(index);
    }
  }

  // Two pairs may spell the same token, and a pair may come back by another merge: both stay one entry.
  int record(const Pair& pair) {
    const std::string token = spelled(pair.first) + spelled(pair.second);
    const auto [entry, is_new] = ids_.emplace(token, static_cast<int>(tokens_.size()));
    if (recorded_.insert(pair).second) merges_.emplace_back(spelled(pair.first), spelled(pair.second));
    if (is_new) tokens_.push_back(token);
    return entry->second;
  }

  // Merges the pair in all words; returns the pairs that gained uses.
  std::vector<Pair> merge(const Pair& pair) {
    const int token = record(pair);
    std::vector<Pair> gained;
    const std::vector<std::size_t> words = std::move(uses_.at(pair).words);
    uses_.at(pair).words.clear();
    for (const std::size_t index : words) {
      count_pairs(index, -1);
      std::vector<int>& symbols = words_[index].symbols;
      merge_in(symbols, pair, token);
      count_pairs(index, +1);
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] == token || symbols[i + 1] == token) gained.emplace_back(symbols[i], symbols[i + 1]);
      }
    }
    std::ranges::sort(gained);
    gained.erase(std::unique(gained.begin(), gained.end()), gained.end());
    return gained;
  }

  static void merge_in(std::vector<int>& symbols, const Pair& pair, int token) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool here = i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
      symbols[kept++] = here ? token : symbols[i];
      if (here) ++i;
    }
    symbols.resize(kept);
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int> ids_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::set<Pair> recorded_;
  std::vector<Word> words_;
  std::map<Pair, Uses> uses_;
};

// ---- Files ----

std::vector<std::string> read_vocabulary(const fs::path& path) {
  const nlohmann::json json = read_json(path, kMaxFile);
  check(json.is_object() && json.size() <= kMaxVocabulary, path.string(), ": expected an object of at most ",
        kMaxVocabulary, " tokens");
  std::vector<std::string> tokens(json.size());
  for (const auto& [token, id] : json.items()) {
    const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() < tokens.size() && !token.empty() &&
                      tokens[id.get<std::size_t>()].empty();
    check(fits, path.string(), ": token '", printable(token), "' has the id ", printable(id.dump()),
          "; expected each number below ", tokens.size(), " once");
    tokens[id.get<std::size_t>()] = token;
  }
  return tokens;
}

std::pair<std::string, std::string> read_merge(const std::string& line, const std::string& place) {
  const std::size_t space = line.find(' ');
  const bool two = space != std::string::npos && space > 0 && space + 1 < line.size() && space == line.rfind(' ');
  check(two, place, ": expected two symbols and one space between them, found '", printable(line), "'");
  return {line.substr(0, space), line.substr(space + 1)};
}

std::vector<std::pair<std::string, std::string>> read_merges(const fs::path& path) {
  std::vector<std::pair<std::string, std::string>> merges;
  const std::string content = read_file(path, kMaxFile);
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    check(merges.size() < kMaxVocabulary, path.string(), ": more than ", kMaxVocabulary, " merges");
    merges.push_back(read_merge(line, text(path.string(), ":", line_number)));
  }
  return merges;
}

}  // namespace

Tokenizer::Tokenizer(const std::string& name, std::vector<std::string> tokens, std::vector<Spelling> merges)
    : tokens_(std::move(tokens)), merges_(std::move(merges)) {
  std::unordered_map<std::string_view, Id> ids;
  for (std::size_t i = 0; i < tokens_.size(); ++i) ids.emplace(tokens_[i], static_cast<Id>(i));
  const auto id_of = [&](const std::string& token, const char* use) {
    const auto found = ids.find(token);
    check(found != ids.end(), name, ": the vocabulary lacks '", printable(token), "', which is ", use,
          ". Take vocab.json and merges.txt of one and the same CLIP tokenizer");
    return found->second;
  };
  for (std::size_t byte = 0; byte < 256; ++byte) {
    inner_[byte] = id_of(spelling().of[byte], "the symbol of a byte");
    last_[byte] = id_of(spelling().of[byte] + std::string(kEndOfWord), "the symbol of a byte that ends a word");
  }
  for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
    const auto& [left, right] = merges_[rank];
    const std::uint64_t key = pair_key(id_of(left, "part of a merge"), id_of(right, "part of a merge"));
    pairs_.emplace(key, Merge{rank, id_of(left + right, "the result of a merge")});
  }
  start_ = id_of(std::string(kStart), "the start of a text");
  end_ = id_of(std::string(kEnd), "the end of a text");
}

Tokenizer Tokenizer::load(const fs::path& folder) {
  for (const char* name : {"vocab.json", "merges.txt"}) {
    check(fs::exists(folder / name), folder.string(), ": ", name,
          " is missing; expected a tokenizer's vocab.json and merges.txt");
  }
  return Tokenizer(folder.string(), read_vocabulary(folder / "vocab.json"), read_merges(folder / "merges.txt"));
}

Tokenizer Tokenizer::train(std::span<const std::string> texts, int vocab_size) {
  check(vocab_size >= kFixedTokens && vocab_size <= static_cast<int>(kMaxVocabulary),
        "tokenizer: expected a vocabulary of ", kFixedTokens, " to ", kMaxVocabulary, " tokens, found ", vocab_size);
  std::map<std::string, std::int64_t, std::less<>> counts;
  for (const std::string& text : texts) {
    for_each_word(cleaned(text), [&](std::string_view word) {
      if (word != kStart && word != kEnd) ++counts[std::string(word)];
    });
  }
  MergeLearner learner(byte_tokens());
  for (const auto& [word, count] : counts) learner.add_word(word, count);
  learner.learn(static_cast<std::size_t>(vocab_size) - 2);
  std::vector<std::string> tokens = learner.take_tokens();
  tokens.insert(tokens.end(), {std::string(kStart), std::string(kEnd)});
  return Tokenizer("tokenizer", std::move(tokens), learner.take_merges());
}

void Tokenizer::save(const fs::path& folder) const {
  fs::create_directories(folder);
  nlohmann::json vocabulary = nlohmann::json::object();
  for (std::size_t i = 0; i < tokens_.size(); ++i) vocabulary[tokens_[i]] = i;
  std::string merges = std::string(kVersionLine) + "\n";
  for (const auto& [left, right] : merges_) merges += left + " " + right + "\n";
  write_file_atomic(folder / "merges.txt", merges);
  write_json_atomic(folder / "vocab.json", vocabulary);
  write_json_atomic(folder / "tokenizer_config.json", {{"tokenizer_class", "CLIPTokenizer"},
                                                       {"bos_token", kStart},
                                                       {"eos_token", kEnd},
                                                       {"unk_token", kEnd},
                                                       {"pad_token", kEnd}});
}

const Tokenizer::Merge* Tokenizer::find_merge(Id left, Id right) const {
  const auto found = pairs_.find(pair_key(left, right));
  return found == pairs_.end() ? nullptr : &found->second;
}

// All places of the earliest learnt pair are merged, from left to right, before the next pair is chosen. A queue of
// places keeps that O(n log n), so that a long run of letters in a stranger's caption costs no more than its share.
void Tokenizer::append_word(std::string_view word, std::vector<std::int64_t>& out) const {
  struct Place {
    std::size_t rank, at;
    Id left, right, token;
    bool operator>(const Place& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
  };
  constexpr Id kGone = -1;
  const std::size_t size = word.size();
  std::vector<Id> ids(size);
  std::vector<std::size_t> next(size), previous(size);  // neighbours that are still there; next may be `size`
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    ids[i] = i + 1 < size ? inner_[byte] : last_[byte];
    next[i] = i + 1;
    previous[i] = i == 0 ? size : i - 1;
  }
  std::priority_queue<Place, std::vector<Place>, std::greater<>> queue;
  const auto offer = [&](std::size_t at) {
    if (at >= size || next[at] >= size) return;
    const Id left = ids[at], right = ids[next[at]];
    if (const Merge* merge = find_merge(left, right)) queue.push({merge->rank, at, left, right, merge->token});
  };
  for (std::size_t i = 0; i + 1 < size; ++i) offer(i);

  std::vector<std::size_t> merged;
  while (!queue.empty()) {
    const std::size_t rank = queue.top().rank;
    merged.clear();
    for (; !queue.empty() && queue.top().rank == rank; queue.pop()) {
      const Place& place = queue.top();
      const std::size_t after = next[place.at];
      if (ids[place.at] != place.left || after >= size || ids[after] != place.right) continue;  // merged meanwhile
      ids[place.at] = place.token;
      ids[after] = kGone;
      next[place.at] = next[after];
      if (next[after] < size) previous[next[after]] = place.at;
      merged.push_back(place.at);
    }
    for (const std::size_t at : merged) {
      offer(previous[at]);
      offer(at);
    }
  }
  for (std::size_t i = 0; i < size; i = next[i]) out.push_back(ids[i]);
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> out{start_};
  for_each_word(cleaned(text), [&](std::string_view word) {
    if (word == kStart) {
      out.push_back(start_);
    } else if (word == kEnd) {
      out.push_back(end_);
    } else {
      append_word(word, out);
    }
  });
  out.push_back(end_);
  return out;
}

std::vector<std::int64_t> Tokenizer::encode_padded(const std::string& text, int context) const {
  invariant(context >= 2, "Tokenizer::encode_padded: context ", context, " has no room for start and end");
  std::vector<std::int64_t> out = encode(text);
  const auto length = static_cast<std::size_t>(context);
  if (out.size() > length) out[length - 1] = end_;
  out.resize(length, end_);
  return out;
}

}  // namespace lacuna
