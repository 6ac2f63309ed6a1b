#include "data/text/clean.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "base/error.h"
#include "data/text/html.h"
#include "data/text/repair.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

// Python's str.isspace: White_Space and the four separators of ASCII. Regular expressions do not count the latter.
bool is_python_space(char32_t c) { return is_space(c) || (c >= 0x1C && c <= 0x1F); }

template <class IsSpace>
std::u32string_view trimmed(std::u32string_view text, IsSpace is_space_here) {
  while (!text.empty() && is_space_here(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space_here(text.back())) text.remove_suffix(1);
  return text;
}

template <class IsSpace>
std::u32string with_single_spaces(std::u32string_view text, IsSpace is_space_here) {
  std::u32string out;
  bool in_space = false;
  for (const char32_t c : text) {
    const bool space = is_space_here(c);
    if (!space || !in_space) out += space ? U' ' : c;
    in_space = space;
  }
  return out;
}

// Printable ASCII and ordinary space, no reference and no mark: all four ways agree on it, and most captions are such.
bool is_simple(std::string_view caption) {
  return std::ranges::all_of(
      caption, [](char c) { return (c >= ' ' && c <= '~' && c != '&') || c == '\t' || c == '\n' || c == '\r'; });
}

std::string clean_simple(std::string_view caption) {
  std::string out;
  out.reserve(caption.size());
  for (const char c : caption) {
    if (c > ' ') {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string clean_like_hugging_face(std::string_view caption) {
  const std::u32string text = with_single_spaces(nfc(decode_utf8(caption)), is_space);
  return encode_utf8(lowered(text, Sigma::kAlwaysMedial));
}

}  // namespace

std::string_view cleaning_name(TextCleaning cleaning) {
  for (const auto& named : kTextCleanings) {
    if (named.value == cleaning) return named.name;
  }
  invariant(false, "cleaning_name: no such cleaning");
  return {};
}

std::string clean_text(std::string_view caption, TextCleaning cleaning) {
  if (cleaning == TextCleaning::kHuggingFace) {
    return is_simple(caption) ? clean_simple(caption) : clean_like_hugging_face(caption);
  }
  if (is_simple(caption)) return clean_simple(caption);
  std::u32string text = decode_utf8(caption);
  if (cleaning != TextCleaning::kOpenAiWithoutFtfy) text = repair_text(text);
  text = unescape_html(unescape_html(text));  // twice, for captions of the web often were escaped twice
  const auto inner = trimmed(text, is_python_space);
  const std::u32string spaced = cleaning == TextCleaning::kOpenClip ? with_single_spaces(inner, is_python_space)
                                                                    : with_single_spaces(inner, is_space);
  return encode_utf8(lowered(trimmed(spaced, is_python_space), Sigma::kFinalAtEnd));
}

}  // namespace lacuna
