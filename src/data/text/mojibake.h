#pragma once
// UTF-8 that was read in a one-byte encoding ("cafÃ©", "donâ€™t"): telling it from what was meant, and undoing it.
//
// Does what ftfy 6.3's fix_encoding does (Speer, "ftfy", 2019; its documentation, "Heuristics for detecting mojibake"):
// a text is touched only when it holds neighbours that hardly occur in any language, and then only when its bytes, in
// the first encoding that can express it, are UTF-8; failing that, stretches of it are. The classes of neighbours
// (text_mojibake_signs.cpp) are our own summary of which ones it answers to. On sentences and words in 18 languages,
// misread in ten encodings, with bytes lost, and untouched, the results were equal without exception; on texts that are
// only partly misread, in 3 of 1,000 a character differed.

#include <string>
#include <string_view>

namespace lacuna {

bool looks_like_mojibake(std::u32string_view text);

// Undone as often as it was done, for as long as the text looks like it.
std::u32string undo_mojibake(std::u32string text);

// C1 controls as the characters that Windows-1252 has in their places.
std::u32string controls_as_windows_1252(std::u32string text);

}  // namespace lacuna
