#pragma once
// The printable spelling of bytes in CLIP's vocabulary files: each byte is one character there, a printable one its
// own, the others U+0100 and up.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lacuna {

inline constexpr std::string_view kEndOfWord = "</w>";

const std::string& byte_symbol(unsigned char byte);  // UTF-8

// The 512 symbols that every vocabulary begins with: the bytes, printable ones first, then the same at the end of a
// word.
std::vector<std::string> byte_symbols();

// The bytes that a token spells, without the end of the word; nothing where it holds another character.
std::optional<std::string> spelled_bytes(std::string_view token);

}  // namespace lacuna
