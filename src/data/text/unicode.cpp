#include "data/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

namespace lacuna {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kSmallSigma = 0x3C3, kFinalSigma = 0x3C2;
constexpr char32_t kCapitalDottedI = 0x130;
constexpr char32_t kFirstCombining = 0x300;  // everything below is its own NFC

utf8proc_category_t category(char32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

// What a first byte announces: how many bytes follow, and the range of the first of them, which alone tells overlong
// forms, surrogates and what lies beyond U+10FFFF (Unicode, table 3-7).
struct Lead {
  unsigned tail = 0;
  unsigned char first_from = 0x80, first_to = 0xBF;
};

Lead lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {};
}

// Derived property Cased: upper, lower and title case letters, and what else counts as one (PropList.txt,
// Other_Lowercase and Other_Uppercase). Modifier letters are left out, for whoever asks has skipped them.
bool is_cased(char32_t code) {
  const auto kind = category(code);
  if (kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT) return true;
  return code == 0xAA || code == 0xBA || (code >= 0x2160 && code <= 0x217F) || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

// Derived property Case_Ignorable: marks, formats, modifiers, and the punctuation that stands inside words.
bool is_case_ignorable(char32_t code) {
  constexpr std::u32string_view kInsideWords =
      U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return kInsideWords.find(code) != std::u32string_view::npos;
  }
}

bool ends_a_word(std::u32string_view text, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

std::u32string normalized(std::u32string text, utf8proc_option_t options) {
  if (std::ranges::all_of(text, [](char32_t c) { return c < kFirstCombining; }) && !(options & UTF8PROC_COMPAT))
    return text;
  const std::string bytes = encode_utf8(text);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()), static_cast<utf8proc_ssize_t>(bytes.size()),
                   &mapped, options);  // allocates with malloc
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) throw std::bad_alloc();  // the input is valid, so nothing else can fail
  return decode_utf8({reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size)});
}

}  // namespace

DecodedPoint decode_point(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const Lead lead = lead_of(byte(0));
  if (lead.tail == 0) return {kReplacement, 1};
  char32_t code = byte(0) & (0x3Fu >> lead.tail);
  for (unsigned i = 1; i <= lead.tail; ++i) {
    const bool follows =
        i < bytes.size() && byte(i) >= (i == 1 ? lead.first_from : 0x80) && byte(i) <= (i == 1 ? lead.first_to : 0xBF);
    if (!follows) return {kReplacement, i};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  return {code, lead.tail + 1};
}

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const DecodedPoint point = decode_point(bytes);
    out.push_back(point.code);
    bytes.remove_prefix(point.length);
  }
  return out;
}

void append_utf8(char32_t code, std::string& out) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += {static_cast<char>(0xC0 | (code >> 6)), tail(0)};
  } else if (code < 0x10000) {
    out += {static_cast<char>(0xE0 | (code >> 12)), tail(6), tail(0)};
  } else {
    out += {static_cast<char>(0xF0 | (code >> 18)), tail(12), tail(6), tail(0)};
  }
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t code : text) append_utf8(code, out);
  return out;
}

bool is_ascii(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_letter(char32_t code) {
  const auto kind = category(code);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t code) {
  const auto kind = category(code);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_space(char32_t code) {
  if (code <= 0x20) return code == ' ' || (code >= '\t' && code <= '\r');
  if (code == 0x85) return true;
  const auto kind = category(code);
  return kind == UTF8PROC_CATEGORY_ZS || kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP;
}

std::u32string lowered(std::u32string_view text, Sigma sigma) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t code = text[i];
    if (code == kCapitalDottedI) {
      out += U"i\u0307";  // the one lower case of two characters (SpecialCasing.txt)
    } else if (code == kCapitalSigma) {
      out += sigma == Sigma::kFinalAtEnd && ends_a_word(text, i) ? kFinalSigma : kSmallSigma;
    } else {
      out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
    }
  }
  return out;
}

char32_t upper_case(char32_t code) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}

std::u32string nfc(std::u32string text) {
  return normalized(std::move(text), static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
}

std::u32string nfkc(std::u32string text) {
  return normalized(std::move(text),
                    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
}

}  // namespace lacuna
