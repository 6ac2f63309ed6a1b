#include "data/text/html.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "data/text/charmaps.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

constexpr std::size_t kLongestName = 32;   // characters that may belong to a name
constexpr std::size_t kLongestWhole = 24;  // the same, for whole references
constexpr char32_t kLastCode = 0x10FFFF;

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_hex(char32_t c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

const HtmlName* find_name(std::string_view name) {
  const auto names = html_names();
  const auto found = std::ranges::lower_bound(names, name, {}, &HtmlName::name);
  return found != names.end() && found->name == name ? &*found : nullptr;
}

std::u32string meaning(const HtmlName& name) {
  return name.second == 0 ? std::u32string{name.first} : std::u32string{name.first, name.second};
}

// Nothing for a number that stands for no character at all.
std::optional<char32_t> numbered(char32_t code) {
  if (code == 0 || code > kLastCode || (code >= 0xD800 && code < 0xE000)) return kReplacement;
  if (code >= 0x80 && code < 0xA0) return windows_1252(static_cast<unsigned char>(code));
  const bool space = code == '\t' || code == '\n' || code == '\f' || code == '\r';
  const bool control = (code < 0x20 && !space) || code == 0x7F;
  const bool no_character = (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
  if (control || no_character) return std::nullopt;
  return code;
}

// What a reference at the front of a text means, and how many characters it takes; 0 where there is none.
struct Reference {
  std::u32string meaning;
  std::size_t length = 0;
};

Reference read_number(std::u32string_view text) {  // from "&#" on
  const bool hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  const std::size_t begin = hex ? 3 : 2;
  std::size_t end = begin;
  char32_t code = 0;
  for (; end < text.size() && (hex ? is_hex(text[end]) : is_digit(text[end])); ++end) {
    const char32_t c = text[end];
    const char32_t digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
    code = std::min<char32_t>(code * (hex ? 16 : 10) + digit, kLastCode + 1);
  }
  if (end == begin) return {};
  const auto value = numbered(code);
  if (end < text.size() && text[end] == ';') ++end;
  return {value ? std::u32string{*value} : std::u32string(), end};
}

Reference read_name(std::u32string_view text) {  // from "&" on
  std::string name;
  for (std::size_t i = 1; i < text.size() && name.size() < kLongestName; ++i) {
    if (!is_ascii_letter(text[i]) && !is_digit(text[i])) break;
    name += static_cast<char>(text[i]);
  }
  if (name.size() + 1 < text.size() && text[name.size() + 1] == ';') {
    if (const HtmlName* whole = find_name(name)) return {meaning(*whole), name.size() + 2};
  }
  for (; name.size() >= 2; name.pop_back()) {
    const HtmlName* known = find_name(name);
    if (known != nullptr && known->bare) return {meaning(*known), name.size() + 1};
  }
  return {};
}

Reference read_reference(std::u32string_view text) {
  return text.size() > 1 && text[1] == '#' ? read_number(text) : read_name(text);
}

std::u32string in_capitals(const HtmlName& name) {
  switch (name.first) {  // the capital forms of more than one letter among the named characters (SpecialCasing.txt)
    case 0xDF:
      return U"SS";
    case 0x149:
      return U"\u02BCN";
    case 0xFB00:
      return U"FF";
    case 0xFB01:
      return U"FI";
    case 0xFB02:
      return U"FL";
    case 0xFB03:
      return U"FFI";
    case 0xFB04:
      return U"FFL";
    default:
      break;
  }
  std::u32string capitals = meaning(name);
  for (char32_t& c : capitals) c = upper_case(c);
  return capitals;
}

// &NTILDE; for &ntilde;. Not where a browser would read something of it, as &GT in &GTDOT;.
std::optional<std::u32string> capital_name(const std::string& name) {
  std::string small = name;
  std::ranges::transform(small, small.begin(), ascii_lower);
  std::string capitals = name;
  std::ranges::transform(capitals, capitals.begin(), ascii_upper);
  const HtmlName* known = capitals == name ? find_name(small) : nullptr;
  const std::u32string reference = U'&' + std::u32string(name.begin(), name.end()) + U';';
  if (known == nullptr || read_name(reference).length != 0) return std::nullopt;
  return in_capitals(*known);
}

Reference read_whole_reference(std::u32string_view text) {
  const bool number = text.size() > 1 && text[1] == '#';
  const std::size_t begin = number ? 2 : 1;
  std::size_t end = begin;
  while (end < text.size() && (is_ascii_letter(text[end]) || is_digit(text[end]))) ++end;
  const std::size_t letters = end - begin;
  if (letters == 0 || letters > kLongestWhole || end == text.size() || text[end] != ';') return {};
  const std::size_t length = end + 1;
  if (number) {
    Reference read = read_number(text);
    return read.length == length && read.meaning != U";" ? read : Reference{};
  }
  const std::string name(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(end));
  if (const HtmlName* known = find_name(name)) {
    return {meaning(*known), length};
  }
  const auto capitals = capital_name(name);
  return capitals ? Reference{*capitals, length} : Reference{};
}

template <class Read>
std::u32string replaced(std::u32string_view text, Read read) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Reference reference = text.front() == '&' ? read(text) : Reference{};
    if (reference.length == 0) {
      out += text.front();
      text.remove_prefix(1);
    } else {
      out += reference.meaning;
      text.remove_prefix(reference.length);
    }
  }
  return out;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) { return replaced(text, read_reference); }

std::u32string unescape_whole_references(std::u32string_view text) { return replaced(text, read_whole_reference); }

}  // namespace lacuna
