#include "data/text/mojibake.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <unordered_map>
#include <utility>

#include "data/text/charmaps.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

constexpr int kMostLayers = 100;  // more than any text was ever misread
constexpr unsigned char kSubstitute = 0x1A;
constexpr std::string_view kReplacementBytes = "\xEF\xBF\xBD";

unsigned char byte_at(std::string_view bytes, std::size_t at) {
  return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0;
}

bool is_continuation(unsigned char byte) { return byte >= 0x80 && byte <= 0xBF; }

// How many bytes follow this one in UTF-8; 0 where none do.
std::size_t tail_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return 1;
  if (byte >= 0xE0 && byte <= 0xEF) return 2;
  return byte >= 0xF0 && byte <= 0xF4 ? 3 : 0;
}

// ---- Bytes that lost something on the way ----

// "Ã" before a space is "à" without its second byte, a no-break space that was taken for a space. Usually a further
// space was there ("voilÃ  le") and stays; where it was swallowed it is put back, but not in front of what continues a
// word of Portuguese ("Ã quele").
bool space_was_swallowed(std::string_view after) {
  for (const std::string_view rest : {" ", "quele", "quela", "quilo", "s "}) {
    if (after.starts_with(rest)) return false;
  }
  return true;
}

// The number of bytes from `at` on that are a character of UTF-8 but for one space in the place of 0xA0; else 0. Only
// where that is likelier than a word's end: after the commonest first bytes, and not beside an ellipsis (0x85) or a
// no-break space of its own.
std::size_t altered_length(std::string_view bytes, std::size_t at) {
  const unsigned char lead = byte_at(bytes, at);
  const bool two = lead == 0xC2 || lead == 0xC3 || lead == 0xC5 || lead == 0xCE || lead == 0xD0 || lead == 0xD9;
  const bool three = lead >= 0xE0 && lead <= 0xE3;
  if (!two && !three && lead != 0xF0) return 0;
  const std::size_t tail = two ? 1 : three ? 2 : 3;
  std::size_t spaces = 0;
  for (std::size_t i = 1; i <= tail; ++i) {
    const unsigned char byte = byte_at(bytes, at + i);
    if (byte == ' ' && !(i == 1 && (lead == 0xE0 || lead == 0xE1))) {
      ++spaces;
    } else if (!is_continuation(byte) || (three && (byte == 0xA0 || byte == 0x85))) {
      return 0;
    }
  }
  return spaces == 1 ? tail + 1 : 0;
}

std::string with_no_break_spaces(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    if (byte_at(bytes, i) == 0xC3 && byte_at(bytes, i + 1) == ' ' && space_was_swallowed(bytes.substr(i + 2))) {
      out += "\xC3\xA0 ";
      i += 2;
      continue;
    }
    const std::size_t length = altered_length(bytes, i);
    for (const std::size_t end = i + (length == 0 ? 1 : length); i < end; ++i) {
      out += length != 0 && bytes[i] == ' ' ? '\xA0' : bytes[i];
    }
  }
  return out;
}

// The number of bytes from `at` on that were a character of UTF-8 of which some became 0x1A, or one a question mark;
// else 0. A question mark after two-byte leads other than the commonest is one.
std::size_t lossy_length(std::string_view bytes, std::size_t at) {
  const unsigned char lead = byte_at(bytes, at);
  if (lead == kSubstitute) return 1;
  const std::size_t tail = tail_of(lead);
  const bool may_ask = tail > 1 || lead == 0xC2 || lead == 0xC3;
  std::size_t lost = 0, asked = 0;
  for (std::size_t i = 1; i <= tail; ++i) {
    const unsigned char byte = byte_at(bytes, at + i);
    if (byte == kSubstitute) {
      ++lost;
    } else if (byte == '?') {
      ++asked;
    } else if (!is_continuation(byte)) {
      return 0;
    }
  }
  const bool lossy = lost + asked > 0 && asked <= (may_ask ? 1u : 0u);
  return lossy ? tail + 1 : 0;
}

std::string with_losses_replaced(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = lossy_length(bytes, i);
    if (length == 0) {
      out += bytes[i++];
    } else {
      out += kReplacementBytes;
      i += length;
    }
  }
  return out;
}

// ---- UTF-8, strictly, but for two old variants ----

// A character beyond the basic plane written as two surrogates of three bytes each (CESU-8).
std::optional<char32_t> surrogate_pair(std::string_view bytes) {
  const auto half = [&](std::size_t at, unsigned char from) -> std::optional<char32_t> {
    const unsigned char second = byte_at(bytes, at + 1), third = byte_at(bytes, at + 2);
    if (byte_at(bytes, at) != 0xED || second < from || second > from + 0x0F || !is_continuation(third))
      return std::nullopt;
    return (second & 0x0Fu) << 6 | (third & 0x3Fu);
  };
  const auto high = half(0, 0xA0), low = half(3, 0xB0);
  if (!high || !low) return std::nullopt;
  return 0x10000 + (*high << 10 | *low);
}

std::optional<std::u32string> decode_strictly(std::string_view bytes) {
  std::u32string out;
  while (!bytes.empty()) {
    DecodedPoint point = decode_point(bytes);
    if (const auto pair = surrogate_pair(bytes)) {
      point = {*pair, 6};
    } else if (bytes.starts_with("\xC0\x80")) {
      point = {0, 2};  // Java's zero
    }
    if (point.code == kReplacement && !bytes.starts_with(kReplacementBytes)) return std::nullopt;
    out += point.code;
    bytes.remove_prefix(point.length);
  }
  return out;
}

std::optional<std::u32string> decoded_from(const Charmap& charmap, std::u32string_view text) {
  auto bytes = charmap.encode(text);
  if (!bytes) return std::nullopt;
  if (charmap.name() != "Mac Roman") bytes = with_no_break_spaces(*bytes);  // there a dash before a space looks like it
  if (charmap.lossy()) bytes = with_losses_replaced(*bytes);
  return decode_strictly(*bytes);
}

// ---- Stretches of mojibake in a text that is none as a whole ----

// What a character could have been, were it a byte of UTF-8 read in Latin-1 or a Windows encoding. Bits.
enum Trace : unsigned {
  kLeadOfTwo = 1,
  kLeadOfThree = 2,
  kLeadOfFour = 4,
  kTail = 8,
  kSureTail = 16,  // a tail that real text hardly has: no letter, dash, quotation mark or the like
};

unsigned trace_of_byte(unsigned char byte) {
  constexpr std::array<unsigned, 4> kLeads = {0, kLeadOfTwo, kLeadOfThree, kLeadOfFour};
  return is_continuation(byte) ? kTail : kLeads[tail_of(byte)];
}

std::unordered_map<char32_t, unsigned> make_traces() {
  constexpr std::size_t kFamily = 7;  // Latin-1 and the Windows encodings come first
  constexpr std::u32string_view kCommon = U"\u00A0–—―‘’‚“”„†‡•…‹›";
  std::unordered_map<char32_t, unsigned> traces;
  for (const Charmap& charmap : charmaps().first(kFamily)) {
    for (std::size_t i = 0; i < charmap.high().size(); ++i) {
      traces[charmap.high()[i]] |= trace_of_byte(static_cast<unsigned char>(0x80 + i));
    }
  }
  for (auto& [code, trace] : traces) {
    if ((trace & kTail) && !is_letter(code) && kCommon.find(code) == std::u32string_view::npos) trace |= kSureTail;
  }
  traces[U' '] = kTail;  // for the no-break space
  return traces;
}

unsigned trace_of(char32_t code) {
  static const std::unordered_map<char32_t, unsigned> kTraces = make_traces();
  const auto found = kTraces.find(code);
  return found == kTraces.end() ? 0 : found->second;
}

// The length of what may be one character of UTF-8 at the front; else 0.
std::size_t trace_length(std::u32string_view text) {
  const unsigned lead = trace_of(text.front());
  for (std::size_t tail = 1; tail <= 3; ++tail) {
    if (!(lead & (1u << (tail - 1))) || text.size() <= tail) continue;
    const auto rest = text.substr(1, tail);
    if (std::ranges::all_of(rest, [](char32_t c) { return (trace_of(c) & kTail) != 0; })) return tail + 1;
  }
  return 0;
}

std::size_t stretch_length(std::u32string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    const std::size_t more = trace_length(text.substr(length));
    if (more == 0) break;
    length += more;
  }
  return length;
}

// A stretch does not begin behind a tail: a part of a larger mess would come out as some arbitrary character.
std::u32string with_stretches_undone(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const bool may_begin = i == 0 || !(trace_of(text[i - 1]) & kSureTail);
    const std::size_t length = may_begin ? stretch_length(text.substr(i)) : 0;
    const std::u32string_view stretch = text.substr(i, std::max<std::size_t>(length, 1));
    const bool undo = length != 0 && length < text.size() && looks_like_mojibake(stretch);
    out += undo ? undo_mojibake(std::u32string(stretch)) : std::u32string(stretch);
    i += stretch.size();
  }
  return out;
}

std::u32string undone_once(const std::u32string& text) {
  if (!looks_like_mojibake(text)) return text;
  for (const Charmap& charmap : charmaps()) {
    if (auto decoded = decoded_from(charmap, text)) return *decoded;
  }
  std::u32string partly = with_stretches_undone(text);
  return partly == text ? controls_as_windows_1252(text) : partly;
}

}  // namespace

std::u32string undo_mojibake(std::u32string text) {
  for (int layer = 0; layer < kMostLayers; ++layer) {
    std::u32string undone = undone_once(text);
    if (undone == text) break;
    text = std::move(undone);
  }
  return text;
}

std::u32string controls_as_windows_1252(std::u32string text) {
  for (char32_t& c : text) {
    if (c >= 0x80 && c < 0xA0) c = windows_1252(static_cast<unsigned char>(c));
  }
  return text;
}

}  // namespace lacuna
