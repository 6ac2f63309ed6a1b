#pragma once
// Learning the merges of a byte-pair encoding (Sennrich et al., 2016) from counted words.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lacuna {

using MergeSpelling = std::pair<std::string, std::string>;  // of a merge's two parts
using WordCounts = std::map<std::string, std::int64_t, std::less<>>;

struct LearntMerges {
  std::vector<std::string> tokens;  // the 512 byte symbols, then the results of merges
  std::vector<MergeSpelling> merges;
};

// Merges the most frequent pair until there are `tokens` tokens or no pair is left. Among equally frequent pairs the
// first in the order of their spelling is learnt, so the order of the texts does not matter.
LearntMerges learn_merges(const WordCounts& words, std::size_t tokens);

}  // namespace lacuna
