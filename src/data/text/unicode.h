#pragma once
// Code points: UTF-8 both ways, the properties that cut captions into words, and the mappings that clean them.
// Properties, lower case and normal forms are those of Unicode 14 or newer (utf8proc).

#include <string>
#include <string_view>

namespace lacuna {

inline constexpr char32_t kReplacement = 0xFFFD;

// What is no UTF-8 becomes U+FFFD, one for each longest part that could have begun a character; as Unicode recommends
// (chapter 3, "maximal subparts") and Python's errors="replace" does.
std::u32string decode_utf8(std::string_view bytes);

// One character from the front of `bytes`, which are not empty, and how many of them it took.
struct DecodedPoint {
  char32_t code;
  std::size_t length;
};
DecodedPoint decode_point(std::string_view bytes);

void append_utf8(char32_t code, std::string& out);
std::string encode_utf8(std::u32string_view text);

bool is_ascii(std::string_view bytes);
bool is_letter(char32_t code);  // general category L
bool is_number(char32_t code);  // general category N
bool is_space(char32_t code);   // White_Space

// Lower case. A capital sigma at the end of a word becomes the final form where it is asked for, which Python's lower()
// does (SpecialCasing.txt, Final_Sigma) and Hugging Face's tokenizers do not.
enum class Sigma { kFinalAtEnd, kAlwaysMedial };
std::u32string lowered(std::u32string_view text, Sigma sigma);

char32_t upper_case(char32_t code);  // where that is one character

std::u32string nfc(std::u32string text);
std::u32string nfkc(std::u32string text);

}  // namespace lacuna
