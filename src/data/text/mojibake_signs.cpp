// Which neighbours give UTF-8 in the wrong encoding away.

#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "data/text/mojibake.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

// The characters that the bytes of UTF-8 become in a one-byte encoding, by how they are used in real text.
using Classes = std::uint64_t;
constexpr Classes bit(int index) { return Classes{1} << index; }

constexpr Classes kControl = bit(0);       // C1
constexpr Classes kLetter = bit(1);        // A to Z, in both cases
constexpr Classes kSmallLetter = bit(2);   // a to z
constexpr Classes kSpace = bit(3);         // of ASCII
constexpr Classes kCapital = bit(4);       // accented: hardly after a small letter, hardly before a sign
constexpr Classes kSmall = bit(5);         // accented: hardly after a sign
constexpr Classes kEitherCase = bit(6);    // accented, and frequent at the ends of words: Ö, Ú, ô
constexpr Classes kForeign = bit(7);       // Greek and Cyrillic
constexpr Classes kForeignSmall = bit(8);  // the same, small
constexpr Classes kBox = bit(9);           // frames and blocks
constexpr Classes kOdd = bit(10);          // signs that no sentence has beside a letter
constexpr Classes kOpening = bit(11);      // signs that stand before a word
constexpr Classes kClosing = bit(12);      // signs that stand after a word
constexpr Classes kCurrency = bit(13);     // ¢ £ €
constexpr Classes kYen = bit(14);          // ¥, which often follows a capital; and the peseta
constexpr Classes kNumeric = bit(15);      // digits and operators of mathematics
constexpr Classes kFraction = bit(16);     // some of them
constexpr Classes kSection = bit(17);
constexpr Classes kDegree = bit(18);
constexpr Classes kAcute = bit(19);
constexpr Classes kGap = bit(20);   // dashes and other spaces
constexpr Classes kWord = bit(21);  // letters and digits of any script
constexpr Classes kOther = bit(22);
constexpr Classes kBegin = bit(23);  // of the text: no neighbour

// First bytes of UTF-8, as the encodings show them, and what follows them there only.
constexpr Classes kLatinLead = bit(30);   // C2, C3 in Western encodings; CE, D0 for Greek and Cyrillic
constexpr Classes kSpacedLead = bit(31);  // C2, C3
constexpr Classes kCaron = bit(32);
constexpr Classes kLigature = bit(33);                            // C5 in Windows-1250, and 0x9C
constexpr Classes kGrave = bit(34);                               // E0: scripts of India and beyond
constexpr Classes kCyrillicLead = bit(35), kGreekLead = bit(36);  // C2, C3, CE, D0, D1 in encodings for these scripts
constexpr Classes kVe = bit(37), kDje = bit(38);                  // E2 80 in Windows-1251
constexpr Classes kBeta = bit(39), kEuro = bit(40), kEuroTail = bit(50);               // E2 80 in Windows-1253
constexpr Classes kLowQuote = bit(41), kADieresis = bit(42), kLowQuoteTail = bit(43);  // E2 80 in Mac Roman
constexpr Classes kRoot = bit(44), kRootTail = bit(45);                                // C3 in Mac Roman
constexpr Classes kAbout = bit(46), kAboutTail = bit(47);                              // C5 in Mac Roman
constexpr Classes kTimes = bit(48), kTimesTail = bit(49);                              // Hebrew

constexpr Classes kAnySign = kOdd | kOpening | kClosing | kCurrency | kNumeric | kDegree;
constexpr Classes kAnyMoney = kCurrency | kYen;

struct Members {
  Classes classes;
  std::u32string_view characters;
};

constexpr Members kMembers[] = {
    {kCapital, U"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"},
    {kSmall, U"ßàáâãäåæçèéêëìíîïðñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ"},
    {kEitherCase, U"ÒÓÔÕÖÙÚÛòóôõöùúûŌŐŪŲ"},
    {kForeignSmall, U"άέήίΰαβγδεζηθικλμνξοπρςστυφχψωабвгдежзийклмнопрстуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџ"},
    {kForeign,
     U"ÞΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωЁЂЃЄЅІЇЈЉЊЋЌЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХ"
     U"ЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџ"},
    {kBox, U"│┌┐┘├┤┬┼═║╒╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡╢╣╤╥╦╧╨╩╪╫╬▀▄█▌▐░▒▓"},
    {kOdd, U"¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\uFFFD"},
    {kOpening, U"¡©«¿΄΅‘‚“„•‹"},
    {kClosing, U"®™»˝”›"},
    {kCurrency, U"¢£€"},
    {kYen, U"¥₧"},
    {kNumeric, U"²³¹¼½¾±×÷µ⁄№∂∆∏∑√∞∩∫≈≠≡≤≥"},
    {kSection, U"§¶"},
    {kDegree, U"°"},
    {kAcute, U"´"},
    {kGap, U"\u00A0\u00AD·–—"},
    {kSpace, U" \t\n\v\f\r"},
    {kLatinLead, U"ÂÃÎÐ"},
    {kSpacedLead, U"ÂÃ"},
    {kCaron, U"ŠŸšžœ"},
    {kLigature, U"Œœ"},
    {kGrave, U"à"},
    {kFraction, U"²µ¹¼½¾"},
    {kCyrillicLead, U"ВГРС"},
    {kGreekLead, U"ΒΓΞΟ"},
    {kVe, U"в"},
    {kDje, U"Ђ"},
    {kBeta, U"β"},
    {kEuro, U"€"},
    {kEuroTail, U"\u00A0\u00AD®°™Ά"},
    {kLowQuote, U"‚"},
    {kADieresis, U"Ä"},
    {kLowQuoteTail, U"¢ìîïòôùúûπ"},
    {kRoot, U"√"},
    {kRootTail, U"¥®±´µ™∂≠≤≥"},
    {kAbout, U"≈"},
    {kAboutTail, U"¢°"},
    {kTimes, U"×"},
    {kTimesTail, U"²³"},
};

const std::unordered_map<char32_t, Classes>& members() {
  static const auto kTable = [] {
    std::unordered_map<char32_t, Classes> table;
    for (const Members& entry : kMembers) {
      for (const char32_t c : entry.characters) table[c] |= entry.classes;
    }
    for (char32_t c = 0x80; c < 0xA0; ++c) table[c] |= kControl;
    return table;
  }();
  return kTable;
}

Classes classes_of(char32_t c) {
  const Classes word = is_letter(c) || is_number(c) || c == '_' ? kWord : 0;
  if (c >= 'a' && c <= 'z') return kLetter | kSmallLetter | kWord;
  if (c >= 'A' && c <= 'Z') return kLetter | kWord;
  const auto found = members().find(c);
  return (found == members().end() ? Classes{kOther} : found->second) | word;
}

struct Pair {
  Classes left, right;
};

constexpr Pair kUnlikelyPairs[] = {
    {kForeignSmall, kCapital},
    {kSmall, kCapital | kBox | kOdd | kAnyMoney},
    {kCapital, kBox | kOdd | kNumeric | kSection | kDegree},
    {kBox, kCapital | kSmall | kEitherCase | kAnySign | kYen | kSection},
    {kOdd, kCapital | kSmall | kBox | kOdd | kOpening | kNumeric | kClosing | kAnyMoney | kSection},
    {kOpening | kSection, kBox | kOdd},
    {kNumeric | kAnyMoney, kCapital | kSmall | kBox | kOdd | kOpening},
    {kClosing, kCapital | kSmall | kBox | kOdd | kAnyMoney},
    {kLatinLead, kAnySign | kGap | kSection | kAcute | kCaron},
    {kLigature, ~(kLetter | kSmallLetter | kWord)},
    {kGrave, kFraction},
    {kVe, kDje},
    {kRoot, kRootTail},
    {kAbout, kAboutTail},
    {kTimes, kTimesTail},
};

struct Triple {
  Classes left, middle, right;
};

constexpr Triple kUnlikelyTriples[] = {
    {kBegin | kSmallLetter, kSpacedLead, kSpace},
    {kSpace, kCapital, kAnyMoney},
    {kSmallLetter, kCapital, kOpening | kAnyMoney},
    {kLetter, kForeign, kOdd},
    {kCapital | kSmall, kOpening | kClosing, kWord | kNumeric},
    {kCyrillicLead, kAnySign, kCyrillicLead},
    {kGreekLead, kAnySign, kGreekLead},
    {kLowQuote, kADieresis, kLowQuoteTail},
    {kBeta, kEuro, kEuroTail},
};

bool unlikely(Classes left, Classes right) {
  for (const Pair& pair : kUnlikelyPairs) {
    if ((left & pair.left) && (right & pair.right)) return true;
  }
  return false;
}

bool unlikely(Classes left, Classes middle, Classes right) {
  for (const Triple& triple : kUnlikelyTriples) {
    if ((left & triple.left) && (middle & triple.middle) && (right & triple.right)) return true;
  }
  return false;
}

}  // namespace

bool looks_like_mojibake(std::u32string_view text) {
  Classes before_last = kBegin, last = kBegin;
  for (const char32_t c : text) {
    const Classes here = classes_of(c);
    if ((here & kControl) || unlikely(last, here) || unlikely(before_last, last, here)) return true;
    before_last = last;
    last = here;
  }
  return false;
}

}  // namespace lacuna
