#include "data/text/tokenizer_learn.h"

#include <algorithm>
#include <queue>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "data/text/tokenizer_bytes.h"

namespace lacuna {
namespace {

class MergeLearner {
 public:
  explicit MergeLearner(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<int>(i));
  }

  void add_word(std::string_view word, std::int64_t count) {
    std::vector<int> symbols;
    for (const char c : word) symbols.push_back(ids_.at(byte_symbol(static_cast<unsigned char>(c))));
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

  LearntMerges take() { return {std::move(tokens_), std::move(merges_)}; }

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
  std::vector<MergeSpelling> merges_;
  std::set<Pair> recorded_;
  std::vector<Word> words_;
  std::map<Pair, Uses> uses_;
};

}  // namespace

LearntMerges learn_merges(const WordCounts& words, std::size_t tokens) {
  MergeLearner learner(byte_symbols());
  for (const auto& [word, count] : words) learner.add_word(word, count);
  learner.learn(tokens);
  return learner.take();
}

}  // namespace lacuna
