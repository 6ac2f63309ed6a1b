// Cleaning of captions, step by step, on texts whose result follows from the rule alone.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "data/text/charmaps.h"
#include "data/text/clean.h"
#include "data/text/html.h"
#include "data/text/mojibake.h"
#include "data/text/repair.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

std::string repaired(const std::string& text) { return encode_utf8(repair_text(decode_utf8(text))); }
std::string unescaped(const std::string& text) { return encode_utf8(unescape_html(decode_utf8(text))); }
std::string whole(const std::string& text) { return encode_utf8(unescape_whole_references(decode_utf8(text))); }

// What a text's UTF-8 reads as in an encoding.
std::u32string misread(const std::string& text, const Charmap& charmap) {
  std::u32string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x80 ? char32_t{byte} : charmap.high()[byte - 0x80u];
  }
  return out;
}

TEST(Unicode, Utf8GoesBothWaysForEveryCodePoint) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code == 0xD800) code = 0xE000;
    std::string bytes;
    append_utf8(code, bytes);
    const DecodedPoint point = decode_point(bytes);
    ASSERT_EQ(point.code, code);
    ASSERT_EQ(point.length, bytes.size());
  }
}

TEST(Unicode, IllFormedBytesBecomeOneMarkForEachLongestPart) {
  // The table of the Unicode Standard, chapter 3, on U+FFFD substitution.
  EXPECT_EQ(decode_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(decode_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(decode_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB");
  EXPECT_EQ(decode_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), U"\uFFFD\uFFFD\uFFFD\uFFFDA");
}

TEST(Unicode, LowerCaseKnowsTheFinalSigma) {
  const auto final_sigma = [](std::u32string_view text) { return lowered(text, Sigma::kFinalAtEnd); };
  EXPECT_EQ(final_sigma(U"ΌΣΟΣ ΣΑΣ"), U"όσος σας");
  EXPECT_EQ(final_sigma(U"Σ"), U"σ");  // no letter before it
  EXPECT_EQ(final_sigma(U"ΑΣ'Β ΑΣ. ΑΣ\u0301"), U"ασ'β ας. ας\u0301");
  EXPECT_EQ(lowered(U"ΌΣΟΣ", Sigma::kAlwaysMedial), U"όσοσ");
  EXPECT_EQ(final_sigma(U"İÄẞ"), U"i\u0307äß");
}

TEST(Html, NumbersNamesAndOldNamesWithoutSemicolon) {
  const std::vector<std::pair<std::string, std::string>> kCases = {{"&amp;&lt;&quot;", "&<\""},
                                                                   {"&#39;&#x41;&#X42", "'AB"},
                                                                   {"&copy 2020", "© 2020"},
                                                                   {"&ampersand", "&ersand"},
                                                                   {"&notanentity;", "¬anentity;"},
                                                                   {"&NotEqualTilde;", "≂̸"},
                                                                   {"&#150;&#x80;", "–€"},
                                                                   {"&#0;&#xD800;&#x110000;", "\uFFFD\uFFFD\uFFFD"},
                                                                   {"&#1;&#xFFFE;", ""},
                                                                   {"&;&#;&#x;& x&unknown;", "&;&#;&#x;& x&unknown;"},
                                                                   {"&#99999999999999999999;", "\uFFFD"}};
  for (const auto& [escaped, plain] : kCases) EXPECT_EQ(unescaped(escaped), plain) << escaped;
}

TEST(Html, OnlyWholeReferencesAreBeyondDoubt) {
  const std::vector<std::pair<std::string, std::string>> kCases = {
      {"&amp;", "&"},    {"&amp", "&amp"},       {"&copy 2020", "&copy 2020"}, {"&NTILDE;", "Ñ"},
      {"&SZLIG;", "SS"}, {"&GTDOT;", "&GTDOT;"}, {"&#12a;", "&#12a;"},         {"&#59;", "&#59;"}};
  for (const auto& [escaped, plain] : kCases) EXPECT_EQ(whole(escaped), plain) << escaped;
}

TEST(Html, NamesAreOrderedAndWhole) {
  const auto names = html_names();
  EXPECT_EQ(names.size(), 2125u);
  for (std::size_t i = 1; i < names.size(); ++i) ASSERT_LT(names[i - 1].name, names[i].name);
  std::size_t bare = 0;
  for (const HtmlName& name : names) bare += name.bare;
  EXPECT_EQ(bare, 106u);
}

TEST(Mojibake, OfEveryEncodingIsUndone) {
  const std::vector<std::string> kTexts = {"Über den Wolken muß die Freiheit wohl grenzenlos sein",
                                           "Voilà le garçon qui a mangé des crêpes", "日本語のテキスト", "привет, мир",
                                           "smile 😀 party 🎉"};
  std::size_t undone = 0;
  for (const std::string& text : kTexts) {
    for (const Charmap& charmap : charmaps()) {
      const std::u32string seen = misread(text, charmap);
      ASSERT_TRUE(looks_like_mojibake(seen) || undo_mojibake(seen) == seen);
      undone += encode_utf8(undo_mojibake(seen)) == text;
    }
  }
  EXPECT_EQ(undone, 42u) << "of " << kTexts.size() * charmaps().size();  // ftfy 6.3.1 undoes as many
}

TEST(Mojibake, IsUndoneAsOftenAsItHappened) {
  std::string text = "crème brûlée";
  for (int i = 0; i < 4; ++i) text = encode_utf8(misread(text, charmaps()[1]));
  EXPECT_EQ(repaired(text), "crème brûlée");
}

TEST(Mojibake, OrdinaryTextOfManyLanguagesStays) {
  for (const std::string text :
       {"El niño comió piñas en la montaña.", "größer als Ärger", "Příliš žluťoučký kůň úpěl ďábelské ódy",
        "Árvíztűrő tükörfúrógép", "Съешь же ещё этих мягких французских булок", "Türkçe: ğüşıöç İstanbul",
        "日本語 한국어 中文", "مرحبا", "שלום", "£5, €10, ¥300, 50¢", "10°C ± 2 µm × 3 ½", "IL Y MARQUÉ…", "«CAFÉ»",
        "© 2020 ™ ® §5 ¶", "─┐│└┘", "São Paulo à tarde"}) {
    EXPECT_FALSE(looks_like_mojibake(decode_utf8(text))) << text;
    EXPECT_EQ(repaired(text), text);
  }
}

TEST(Mojibake, LostBytesAreReplacedOrRestored) {
  EXPECT_EQ(repaired("voilÃ  le travail"), "voilà le travail");  // the no-break space became a space
  EXPECT_EQ(repaired("Ã quele"), "àquele");
  EXPECT_EQ(repaired("cafÃ\uFFFD du Nord â€™"), "caf\uFFFD du Nord '");
  EXPECT_EQ(repaired("\x93quoted\x94"), "\uFFFDquoted\uFFFD");  // bytes that are no UTF-8 at all
  EXPECT_EQ(repaired("\u0093quoted\u0094"), "\"quoted\"");
}

TEST(Repair, StepByStep) {
  EXPECT_EQ(repaired("ﬁne ﬀ ŉ Ǆ"), "fine ff 'n DŽ");
  EXPECT_EQ(repaired("ＬＯＵＤ　ﾊﾟ"), "LOUD パ");
  EXPECT_EQ(repaired("‘a’ “b” ʼ"), "'a' \"b\" '");
  EXPECT_EQ(repaired("a\r\nb\rc\u2028d\u2029e"), "a\nb\nc\nd\ne");
  EXPECT_EQ(repaired("\x1B[31mred\x1B[0m \x1B[;q"), "red ");
  EXPECT_EQ(repaired(std::string("a\0b\x7F\uFEFF\u206A\tc", 13)), "ab\tc");
  EXPECT_EQ(repaired("cafe\u0301"), "café");
}

TEST(Repair, ReferencesStayFromTheFirstLineOnThatHasATag) {
  EXPECT_EQ(repaired("&eacute;\n<b> &eacute;\n&eacute;"), "é\n<b> &eacute;\n&eacute;");
}

TEST(Repair, NestedReferencesEndInTime) {
  std::string nested = "&";
  for (int i = 0; i < 20000; ++i) nested += "amp;";
  EXPECT_LT(repaired(nested).size(), nested.size());
}

TEST(Clean, ThreeWaysForOneText) {
  const std::string text = "  “ﬁne”\t&amp;amp; ΌΣΟΣ ";
  EXPECT_EQ(clean_text(text, TextCleaning::kOpenAi), "\"fine\" & όσος");
  EXPECT_EQ(clean_text(text, TextCleaning::kOpenAiWithoutFtfy), "“ﬁne” & όσος");
  EXPECT_EQ(clean_text(text, TextCleaning::kHuggingFace), " “ﬁne” &amp;amp; όσοσ ");
}

TEST(Clean, TheShortWayForPlainTextsIsNoOtherWay) {
  // 日 forces the long way and comes out as it is.
  Rng rng(5, Purpose::kTest);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (std::int64_t n = rng.integer(0, 30); n > 0; --n) {
      const auto c = static_cast<char>(rng.integer(' ', '~'));
      text += c == '&' ? '\t' : c;
    }
    for (const auto& cleaning : kTextCleanings) {
      const std::string quick = clean_text("q" + text + "q", cleaning.value);
      const std::string slow = clean_text("日" + text + "日", cleaning.value);
      ASSERT_EQ(quick.substr(1, quick.size() - 2), slow.substr(3, slow.size() - 6)) << cleaning.name << ": " << text;
    }
  }
}

TEST(Clean, IsSafeOnAnyBytes) {
  Rng rng(6, Purpose::kTest);
  const std::string pieces[] = {"Ã",      "â€", "\xF0\x9F", "&#", "&amp;",  ";", "\x1B[",
                                "\u0301", "Σ",  "ß",        " ",  "\uFFFD", "ￎ", "İ"};
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::int64_t n = rng.integer(1, 12); n > 0; --n) {
      const auto pick = rng.integer(0, 2 * std::ssize(pieces));
      if (pick < std::ssize(pieces)) {
        text += pieces[pick];
      } else {
        text += static_cast<char>(rng.integer(0, 255));
      }
    }
    for (const auto& cleaning : kTextCleanings) {
      const std::string out = clean_text(text, cleaning.value);
      ASSERT_EQ(encode_utf8(decode_utf8(out)), out) << "not UTF-8";
    }
  }
}

}  // namespace
}  // namespace lacuna
