#include "data/text/tokenizer_bytes.h"

#include <array>
#include <cstddef>
#include <unordered_map>

#include "data/text/unicode.h"

namespace lacuna {
namespace {

bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Spelling {
  std::array<std::string, 256> symbols;
  std::vector<unsigned char> order;  // of the ids
  std::unordered_map<char32_t, char> bytes;

  Spelling() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (is_printable(byte)) add(byte, byte);
    }
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (!is_printable(byte)) add(byte, next++);
    }
  }

 private:
  void add(unsigned byte, char32_t code) {
    append_utf8(code, symbols[byte]);
    order.push_back(static_cast<unsigned char>(byte));
    bytes.emplace(code, static_cast<char>(byte));
  }
};

const Spelling& spelling() {
  static const Spelling kSpelling;
  return kSpelling;
}

}  // namespace

const std::string& byte_symbol(unsigned char byte) { return spelling().symbols[byte]; }

std::vector<std::string> byte_symbols() {
  std::vector<std::string> symbols;
  for (const unsigned char byte : spelling().order) symbols.push_back(byte_symbol(byte));
  for (std::size_t i = 0; i < 256; ++i) symbols.push_back(symbols[i] + std::string(kEndOfWord));
  return symbols;
}

std::optional<std::string> spelled_bytes(std::string_view token) {
  if (token.ends_with(kEndOfWord)) token.remove_suffix(kEndOfWord.size());
  std::string out;
  for (const char32_t code : decode_utf8(token)) {
    const auto byte = spelling().bytes.find(code);
    if (byte == spelling().bytes.end()) return std::nullopt;
    out += byte->second;
  }
  return out;
}

}  // namespace lacuna
