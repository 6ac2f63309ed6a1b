#pragma once
// The one-byte encodings that UTF-8 is most often mistaken for.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lacuna {

class Charmap {
 public:
  // `high`: the characters of the bytes 0x80 to 0xFF. `lossy`: programs that used this encoding wrote the byte 0x1A
  // for what they could not express, and it is shown as U+FFFD.
  Charmap(std::string_view name, std::u32string_view high, bool lossy);

  std::string_view name() const { return name_; }
  bool lossy() const { return lossy_; }
  std::u32string_view high() const { return high_; }

  // The bytes that would read as `text`; nothing when it holds another character.
  std::optional<std::string> encode(std::u32string_view text) const;

 private:
  std::string_view name_;
  std::u32string high_;
  bool lossy_;
  std::unordered_map<char32_t, char> bytes_;
};

// Latin-1, the Windows encodings 1252, 1251, 1250, 1253, 1254, 1257 with their unused bytes as C1 controls, ISO 8859-2,
// Mac Roman and code page 437: in the order in which they are tried.
std::span<const Charmap> charmaps();

// What a byte from 0x80 on means in Windows-1252.
char32_t windows_1252(unsigned char byte);

}  // namespace lacuna
