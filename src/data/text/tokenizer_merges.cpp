#include "data/text/tokenizer_merges.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <tuple>

namespace lacuna {
namespace {

constexpr std::size_t kShort = 32;  // up to this many bytes a look at all pairs is faster than a queue

}  // namespace

MergeTable::MergeTable(const ByteIds& bytes, std::size_t merges)
    : bytes_(bytes), slots_(std::bit_ceil(2 * merges + 1)) {}

std::uint64_t MergeTable::pair_of(Id left, Id right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

// Where the pair is, or where it would be.
std::size_t MergeTable::place_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15u) >> 32) & mask;  // 2^64 / golden ratio
  while (slots_[at].rank != kNone && slots_[at].pair != pair) at = (at + 1) & mask;
  return at;
}

void MergeTable::add(Id left, Id right, Id token) {
  const std::uint64_t pair = pair_of(left, right);
  Slot& slot = slots_[place_of(pair)];
  if (slot.rank == kNone) slot = {pair, merges_++, token};
}

void MergeTable::encode(std::string_view word, std::vector<std::int64_t>& out) const {
  if (word.size() <= kShort) {
    encode_short(word, out);
  } else {
    encode_long(word, out);
  }
}

void MergeTable::encode_short(std::string_view word, std::vector<std::int64_t>& out) const {
  std::array<Id, kShort> ids;             // NOLINT: filled below
  std::array<const Slot*, kShort> merge;  // NOLINT: of a symbol with its right neighbour
  std::size_t size = word.size();
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    ids[i] = i + 1 < size ? bytes_.inner[byte] : bytes_.last[byte];
  }
  for (std::size_t i = 0; i + 1 < size; ++i) merge[i] = &find(ids[i], ids[i + 1]);

  while (size > 1) {
    const Slot* best = *std::min_element(merge.begin(), merge.begin() + static_cast<std::ptrdiff_t>(size) - 1,
                                         [](const Slot* a, const Slot* b) { return a->rank < b->rank; });
    if (best->rank == kNone) break;
    std::size_t kept = 0;
    bool left_is_new = false;
    for (std::size_t i = 0; i < size; ++i, ++kept) {
      const bool here = i + 1 < size && merge[i] == best;
      ids[kept] = here ? best->token : ids[i];
      if (kept > 0) merge[kept - 1] = here || left_is_new ? &find(ids[kept - 1], ids[kept]) : merge[i - 1];
      left_is_new = here;
      if (here) ++i;
    }
    size = kept;
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(size));
}

void MergeTable::encode_long(std::string_view word, std::vector<std::int64_t>& out) const {
  struct Place {
    std::uint32_t rank;
    std::size_t at;
    Id left, right, token;
    bool operator>(const Place& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
  };
  constexpr Id kGone = -1;
  const std::size_t size = word.size();
  std::vector<Id> ids(size);
  std::vector<std::size_t> next(size), previous(size);  // neighbours that are still there; next may be `size`
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    ids[i] = i + 1 < size ? bytes_.inner[byte] : bytes_.last[byte];
    next[i] = i + 1;
    previous[i] = i == 0 ? size : i - 1;
  }
  std::priority_queue<Place, std::vector<Place>, std::greater<>> queue;
  const auto offer = [&](std::size_t at) {
    if (at >= size || next[at] >= size) return;
    const Id left = ids[at], right = ids[next[at]];
    const Slot& merge = find(left, right);
    if (merge.rank != kNone) queue.push({merge.rank, at, left, right, merge.token});
  };
  for (std::size_t i = 0; i + 1 < size; ++i) offer(i);

  std::vector<std::size_t> merged;
  while (!queue.empty()) {
    const std::uint32_t rank = queue.top().rank;
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

}  // namespace lacuna
