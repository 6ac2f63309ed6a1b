#include "data/text/repair.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "data/text/html.h"
#include "data/text/mojibake.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

constexpr char32_t kEscape = 0x1B;
constexpr std::size_t kLongestLine = 1'000'000;  // a longer one is repaired in pieces of this length
constexpr int kMostRounds = 100;                 // a stranger's caption may nest "&amp;amp;…" without end

// Letters that one code point holds two or three of, for the sake of old encodings.
std::u32string_view letters_of_ligature(char32_t c) {
  switch (c) {
    case U'Ĳ':
      return U"IJ";
    case U'ĳ':
      return U"ij";
    case U'ŉ':
      return U"ʼn";
    case U'Ǆ':
      return U"DŽ";
    case U'ǅ':
      return U"Dž";
    case U'ǆ':
      return U"dž";
    case U'Ǉ':
      return U"LJ";
    case U'ǈ':
      return U"Lj";
    case U'ǉ':
      return U"lj";
    case U'Ǌ':
      return U"NJ";
    case U'ǋ':
      return U"Nj";
    case U'ǌ':
      return U"nj";
    case U'Ǳ':
      return U"DZ";
    case U'ǲ':
      return U"Dz";
    case U'ǳ':
      return U"dz";
    case U'ﬀ':
      return U"ff";
    case U'ﬁ':
      return U"fi";
    case U'ﬂ':
      return U"fl";
    case U'ﬃ':
      return U"ffi";
    case U'ﬄ':
      return U"ffl";
    case U'ﬅ':
      return U"ſt";
    case U'ﬆ':
      return U"st";
    default:
      return {};
  }
}

std::u32string with_plain_letters(const std::u32string& text) {
  std::u32string out;
  for (const char32_t c : text) {
    const auto letters = letters_of_ligature(c);
    if (letters.empty()) {
      out += c;
    } else {
      out += letters;
    }
  }
  return out;
}

// Full width Latin and half width Katakana and Hangul as ordinary characters.
std::u32string with_plain_width(const std::u32string& text) {
  std::u32string out;
  for (const char32_t c : text) {
    if (c == 0x3000) {
      out += U' ';
    } else if (c >= 0xFF01 && c <= 0xFFEF) {
      out += nfkc(std::u32string{c});
    } else {
      out += c;
    }
  }
  return out;
}

std::u32string with_straight_quotes(std::u32string text) {
  for (char32_t& c : text) {
    if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
    if (c >= 0x201C && c <= 0x201F) c = U'"';
  }
  return text;
}

std::u32string with_plain_line_ends(const std::u32string& text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    out += c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c;
  }
  return out;
}

// Escape, [, digits and semicolons, a letter: 0 when something else is at the front.
std::size_t terminal_escape_length(std::u32string_view text) {
  if (text.size() < 3 || text[0] != kEscape || text[1] != U'[') return 0;
  std::size_t at = 2;
  while (at < text.size() && ((text[at] >= U'0' && text[at] <= U'9') || text[at] == U';')) ++at;
  const bool letter =
      at < text.size() && ((text[at] >= U'a' && text[at] <= U'z') || (text[at] >= U'A' && text[at] <= U'Z'));
  return letter ? at + 1 : 0;
}

std::u32string without_terminal_escapes(const std::u32string& text) {
  std::u32string out;
  for (std::u32string_view rest = text; !rest.empty();) {
    const std::size_t escape = terminal_escape_length(rest);
    if (escape == 0) out += rest.front();
    rest.remove_prefix(std::max<std::size_t>(escape, 1));
  }
  return out;
}

// Not the ones that are spaces: tab, line feed, form feed, carriage return.
bool is_needless_control(char32_t c) {
  const bool ascii = c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F;
  const bool deprecated = c >= 0x206A && c <= 0x206F;
  const bool annotation = c >= 0xFFF9 && c <= 0xFFFC;
  return ascii || deprecated || annotation || c == 0xFEFF;  // the last is a byte order mark
}

std::u32string without_controls(std::u32string text) {
  std::erase_if(text, is_needless_control);
  return text;
}

std::u32string repaired_once(std::u32string text, bool unescape) {
  if (unescape) text = unescape_whole_references(text);
  text = undo_mojibake(std::move(text));
  text = controls_as_windows_1252(std::move(text));
  text = with_plain_letters(text);
  text = with_plain_width(text);
  text = with_straight_quotes(std::move(text));
  text = with_plain_line_ends(text);
  text = without_terminal_escapes(text);
  return nfc(without_controls(std::move(text)));
}

// One repair may uncover the next: "&amp;eacute;", or mojibake of a curly quote.
std::u32string repaired(std::u32string line, bool unescape) {
  for (int round = 0; round < kMostRounds; ++round) {
    std::u32string next = repaired_once(line, unescape);
    if (next == line) break;
    line = std::move(next);
  }
  return line;
}

}  // namespace

std::u32string repair_text(const std::u32string& text) {
  std::u32string out;
  bool unescape = true;  // until a line has a <, which speaks for HTML that is meant as such
  for (std::u32string_view rest = text; !rest.empty();) {
    const std::size_t line_end = rest.find(U'\n');
    const std::size_t length =
        std::min(line_end == std::u32string_view::npos ? rest.size() : line_end + 1, kLongestLine);
    const std::u32string_view line = rest.substr(0, length);
    unescape = unescape && line.find(U'<') == std::u32string_view::npos;
    out += repaired(std::u32string(line), unescape);
    rest.remove_prefix(length);
  }
  return out;
}

}  // namespace lacuna
