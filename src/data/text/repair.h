#pragma once
// Repairs text from the web as ftfy 6.3's fix_text does by default (Speer, 2019): HTML references (where no < is),
// mojibake, curly quotes, ligatures, full and half width, line ends, terminal escapes, control characters, and NFC.

#include <string>

namespace lacuna {

std::u32string repair_text(const std::u32string& text);

}  // namespace lacuna
