#pragma once
// Whether bytes are text.

#include <string_view>

namespace lacuna {

// False for malformed and overlong sequences, surrogates and code points past U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace lacuna
