#pragma once
// Character references of HTML: &amp; &#39; &#x1F600; and their 2,125 named relatives.

#include <span>
#include <string>
#include <string_view>

namespace lacuna {

struct HtmlName {
  std::string_view name;   // without & and ;
  char32_t first, second;  // second is 0 where the name stands for one character
  bool bare;               // also read without the semicolon, as in &copy 2020
};

// All names, ordered by their bytes (text_html_names.cpp).
std::span<const HtmlName> html_names();

// Undoes references as browsers do (WHATWG, section 13.2.5.72): numbers with and without semicolon, names, and old
// names also at the beginning of a longer word (&ampersand). Numbers of C1 controls mean Windows-1252; those of other
// controls and of non-characters vanish; those of surrogates and beyond Unicode become U+FFFD. What names nothing
// stays.
std::u32string unescape_html(std::u32string_view text);

// Undoes only what is beyond doubt: references of at most 24 letters and digits that end in a semicolon. Names in
// capitals (&NTILDE;) are read as well, where the name in small letters exists, and give the capital letter.
std::u32string unescape_whole_references(std::u32string_view text);

}  // namespace lacuna
