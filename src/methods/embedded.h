#pragma once
// The rows of the table as text: every .toml of this folder, put into the program when it is built.

#include <span>
#include <string_view>

namespace lacuna {

struct EmbeddedText {
  std::string_view name;  // of the file, without its ending
  std::string_view text;
};

std::span<const EmbeddedText> embedded_rows();  // sorted by name

}  // namespace lacuna
