#include "data/text/tokenizer_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "data/text/unicode.h"

namespace lacuna {
namespace {

enum class Sign { kSpace, kLetter, kDigit, kOther };

constexpr std::array<std::string_view, 7> kContractions = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
constexpr std::string_view kLongS = "\u017F";  // stays in lower case, yet equals s where case is ignored

Sign sign_of(char32_t c) {
  if (c >= 'a' && c <= 'z') return Sign::kLetter;
  if (is_space(c)) return Sign::kSpace;
  if (is_letter(c)) return Sign::kLetter;
  return is_number(c) ? Sign::kDigit : Sign::kOther;
}

// The length of `wanted` at the front of a text in lower case, 0 where it is not. `any_case`: as a regular expression
// that ignores case sees it.
std::size_t prefix_length(std::string_view text, std::string_view wanted, bool any_case) {
  std::size_t at = 0;
  for (const char c : wanted) {
    const bool long_s = any_case && c == 's' && text.substr(at).starts_with(kLongS);
    if (!long_s && (at >= text.size() || text[at] != c)) return 0;
    at += long_s ? kLongS.size() : 1;
  }
  return at;
}

std::size_t fixed_word_length(std::string_view text, Marks marks, bool any_case) {
  if (text.front() == '<') {
    for (const std::string_view mark : {marks.start, marks.end}) {
      if (const std::size_t length = prefix_length(text, mark, any_case)) return length;
    }
  }
  if (text.front() == '\'') {
    for (const std::string_view contraction : kContractions) {
      if (const std::size_t length = prefix_length(text, contraction, any_case)) return length;
    }
  }
  return 0;
}

std::size_t run_length(std::string_view text, Sign sign) {
  std::size_t length = 0;
  while (length < text.size()) {
    const DecodedPoint point = decode_point(text.substr(length));
    if (sign_of(point.code) != sign) break;
    length += point.length;
    if (sign == Sign::kDigit) break;
  }
  return length;
}

// Visits the words of a cleaned text. Where the marks do not count, they only part words, and are cut themselves.
void cut(std::string_view text, Marks marks, bool marks_count, const std::function<void(const Word&)>& visit) {
  while (!text.empty()) {
    const Sign sign = sign_of(decode_point(text).code);
    std::size_t length = fixed_word_length(text, marks, marks_count);
    if (length == 0) length = run_length(text, sign);
    const std::string_view word = text.substr(0, length);
    text.remove_prefix(length);
    if (sign == Sign::kSpace) continue;
    if (word != marks.start && word != marks.end) {
      visit({word});
    } else if (marks_count) {
      visit({word, word == marks.start ? WordKind::kStart : WordKind::kEnd});
    } else {
      cut(word, {}, false, visit);
    }
  }
}

// transformers takes the marks out of the caption as it is written, and cleans what lies between them. It cuts twice,
// by CLIP's rule and by GPT-2's, so a mark that was in capitals does not join its neighbours and is no mark.
void for_each_word_like_hugging_face(std::string_view caption, const std::function<void(const Word&)>& visit) {
  constexpr Marks kMarks = kOpenAiMarks;
  while (!caption.empty()) {
    const std::size_t start = caption.find(kMarks.start), end = caption.find(kMarks.end);
    const std::size_t at = std::min(start, end);
    cut(clean_text(caption.substr(0, at), TextCleaning::kHuggingFace), kMarks, false, visit);
    if (at == std::string_view::npos) return;
    const std::string_view mark = start < end ? kMarks.start : kMarks.end;
    visit({mark, start < end ? WordKind::kStart : WordKind::kEnd});
    caption.remove_prefix(at + mark.size());
  }
}

}  // namespace

Marks marks_of(TextCleaning cleaning) { return cleaning == TextCleaning::kOpenClip ? kOpenClipMarks : kOpenAiMarks; }

void for_each_word(std::string_view caption, TextCleaning cleaning, const std::function<void(const Word&)>& visit) {
  if (cleaning == TextCleaning::kHuggingFace) {
    for_each_word_like_hugging_face(caption, visit);
  } else {
    cut(clean_text(caption, cleaning), marks_of(cleaning), true, visit);
  }
}

}  // namespace lacuna
