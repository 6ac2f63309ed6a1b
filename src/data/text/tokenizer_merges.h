#pragma once
// Byte-pair encoding of one word (Sennrich et al., 2016), over ids.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lacuna {

class MergeTable {
 public:
  using Id = std::int32_t;

  // ids of each byte inside a word, and at its end.
  struct ByteIds {
    std::array<Id, 256> inner{}, last{};
  };

  explicit MergeTable(const ByteIds& bytes, std::size_t merges);

  // Earliest first. A pair that is there already keeps its place.
  void add(Id left, Id right, Id token);

  // Appends the ids of a word, which is not empty. All places of the earliest pair are merged, from left to right,
  // before the next pair is chosen; in time n log n, so that a long run of letters in a stranger's caption costs no
  // more than its share.
  void encode(std::string_view word, std::vector<std::int64_t>& out) const;

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // Open addressing: a search in a table that is at most half full touches one or two neighbours.
  struct Slot {
    std::uint64_t pair = 0;
    std::uint32_t rank = kNone;
    Id token = 0;
  };

  static std::uint64_t pair_of(Id left, Id right);
  std::size_t place_of(std::uint64_t pair) const;
  const Slot& find(Id left, Id right) const { return slots_[place_of(pair_of(left, right))]; }  // rank kNone: no merge

  void encode_short(std::string_view word, std::vector<std::int64_t>& out) const;
  void encode_long(std::string_view word, std::vector<std::int64_t>& out) const;

  ByteIds bytes_;
  std::vector<Slot> slots_;  // a power of two
  std::uint32_t merges_ = 0;
};

}  // namespace lacuna
