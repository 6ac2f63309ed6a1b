#include "data/text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/source/shapes.h"
#include "data/text/tokenizer_bytes.h"
#include "data/text/unicode.h"

namespace lacuna {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr int kBytesOnly = 514;
constexpr int kStart = 512, kEnd = 513;  // of a vocabulary of bytes alone

std::vector<std::string> shape_captions(int count) {
  const auto source = make_shapes_source({.size = count});
  std::vector<std::string> captions;
  for (int i = 0; i < count; ++i) {
    Rng rng(0, Purpose::kCaption, 0, static_cast<std::uint64_t>(i));
    captions.push_back(source->caption(i, rng));
  }
  return captions;
}

Ids between_marks(const Tokenizer& tokenizer, const std::string& text) {
  Ids ids = tokenizer.encode(text);
  EXPECT_EQ(ids.front(), tokenizer.start_id());
  EXPECT_EQ(ids.back(), tokenizer.end_id());
  return {ids.begin() + 1, ids.end() - 1};
}

// The id of a printable ASCII byte: they come first, from '!' on; 256 later for the end of a word.
std::int64_t inner(char c) { return c - '!'; }
std::int64_t last(char c) { return 256 + inner(c); }

TEST(Tokenizer, WithoutMergesSpellsWordsByteByByte) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(tokenizer.vocab_size(), kBytesOnly);
  EXPECT_EQ(tokenizer.encode("Ab c"), (Ids{kStart, inner('a'), last('b'), last('c'), kEnd}));
  EXPECT_EQ(tokenizer.encode(""), (Ids{kStart, kEnd}));
  EXPECT_EQ(tokenizer.encode(" \t\n"), (Ids{kStart, kEnd}));
}

TEST(Tokenizer, CutsLettersDigitsSignsAndContractions) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(between_marks(tokenizer, "ab12!?"),
            (Ids{inner('a'), last('b'), last('1'), last('2'), inner('!'), last('?')}));
  EXPECT_EQ(between_marks(tokenizer, "i'LL"), (Ids{last('i'), inner('\''), inner('l'), last('l')}));
  EXPECT_EQ(between_marks(tokenizer, "''s"), (Ids{inner('\''), last('\''), last('s')}));
}

TEST(Tokenizer, TakesTheLiteralMarksForTheMarks) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(between_marks(tokenizer, "a<|EndOfText|>"), (Ids{last('a'), kEnd}));
  EXPECT_EQ(between_marks(tokenizer, "<|startoftext|>"), (Ids{kStart}));
}

TEST(Tokenizer, UndoesEscapesTwiceAndLeavesOthersAlone) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  const auto encoded = [&](const std::string& text) { return tokenizer.encode(text); };
  EXPECT_EQ(encoded("a &amp; b"), encoded("a & b"));
  EXPECT_EQ(encoded("&amp;lt;"), encoded("<"));
  EXPECT_EQ(encoded("&#39;&#x41;"), encoded("'a"));
  EXPECT_EQ(encoded("&#xFFFFFFF;"), encoded("\xEF\xBF\xBD"));
  EXPECT_EQ(encoded("a&b;").size(), 2 + 4u);
}

TEST(Tokenizer, EncodesEveryByteString) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly, TextCleaning::kOpenAiWithoutFtfy);
  Rng rng(1, Purpose::kTest);
  for (int i = 0; i < 500; ++i) {
    std::string text = "x";
    for (std::int64_t n = rng.integer(1, 40); n > 0; --n) text += static_cast<char>(rng.integer(0, 0xFF));
    for (const auto& cleaning : kTextCleanings) {
      const Tokenizer other = Tokenizer::train({}, kBytesOnly, cleaning.value);
      ASSERT_GT(other.encode(text).size(), 2u);
      ASSERT_EQ(other.encode_padded(text, 16).size(), 16u);
    }
    // Every id below 512 stands for one byte, so the bytes of the cleaned text come out again, but for its spaces.
    std::string cleaned = clean_text(text, TextCleaning::kOpenAiWithoutFtfy), spelled;
    std::erase(cleaned, ' ');
    for (const std::int64_t id : between_marks(tokenizer, text)) spelled += *spelled_bytes(tokenizer.token(id));
    std::u32string shown = decode_utf8(cleaned);  // other spaces may be left where a control character was
    std::erase_if(shown, is_space);
    ASSERT_EQ(decode_utf8(spelled), shown);
  }
}

TEST(Tokenizer, WhatIsNoUtf8BecomesReplacementCharacters) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly, TextCleaning::kOpenAiWithoutFtfy);
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(tokenizer.encode("a\xFF z"), tokenizer.encode("a" + mark + " z"));
  EXPECT_EQ(tokenizer.encode("caf\xC3"), tokenizer.encode("caf" + mark));
  EXPECT_EQ(tokenizer.encode("\xE2\x82q"), tokenizer.encode(mark + "q"));             // cut off: one
  EXPECT_EQ(tokenizer.encode("\xED\xA0\x80"), tokenizer.encode(mark + mark + mark));  // a surrogate: three
}

TEST(Tokenizer, LearnsTheMostFrequentPairFirst) {
  // "xy</w>" three times, "ab</w>" twice; "z" alone has no pair.
  const Tokenizer tokenizer = Tokenizer::train(std::vector<std::string>{"ab xy xy", "xy ab", "z"}, 516);
  ASSERT_EQ(tokenizer.vocab_size(), 516);
  EXPECT_EQ(between_marks(tokenizer, "xy ab"), (Ids{512, 513}));
  EXPECT_EQ(tokenizer.start_id(), 514);
  EXPECT_EQ(tokenizer.end_id(), 515);
}

TEST(Tokenizer, MergesTheEarliestPairEverywhereFromTheLeft) {
  // Of "aaa" only the last pair ends the word: a a</w> is learnt, then a aa</w>.
  const Tokenizer tokenizer = Tokenizer::train(std::vector<std::string>{"aaa", "aa"}, 516);
  EXPECT_EQ(between_marks(tokenizer, "aa"), (Ids{512}));
  EXPECT_EQ(between_marks(tokenizer, "aaa"), (Ids{513}));
  EXPECT_EQ(between_marks(tokenizer, "aaaa"), (Ids{inner('a'), 513}));
}

TEST(Tokenizer, TrainingStopsWhenNoPairIsLeft) {
  EXPECT_EQ(Tokenizer::train(std::vector<std::string>{"abc"}, 1000).vocab_size(), kBytesOnly + 2);
}

TEST(Tokenizer, TrainingIgnoresTheOrderOfTheTexts) {
  std::vector<std::string> captions = shape_captions(300);
  const Tokenizer forwards = Tokenizer::train(captions, 700);
  std::ranges::reverse(captions);
  const Tokenizer backwards = Tokenizer::train(captions, 700);
  for (const std::string& caption : captions) ASSERT_EQ(forwards.encode(caption), backwards.encode(caption));
}

TEST(Tokenizer, TrainingOnCaptionsShortensOthers) {
  const std::vector<std::string> captions = shape_captions(2000);
  const std::span all(captions);
  const Tokenizer tokenizer = Tokenizer::train(all.first(1000), 1024);
  std::size_t tokens = 0, bytes = 0;
  for (const std::string& caption : all.last(1000)) {
    tokens += between_marks(tokenizer, caption).size();
    bytes += static_cast<std::size_t>(std::ranges::count_if(caption, [](char c) { return c != ' '; }));
  }
  EXPECT_LT(tokens * 3, bytes);
}

TEST(Tokenizer, LongRunsOfLettersStayCheap) {
  const Tokenizer tokenizer = Tokenizer::train(shape_captions(500), 700);
  Rng rng(2, Purpose::kTest);
  std::string run;
  for (int i = 0; i < 1 << 20; ++i) run += static_cast<char>('a' + rng.integer(0, 25));
  EXPECT_GT(tokenizer.encode(run).size(), 2u);  // a quadratic merge would take hours
}

TEST(Tokenizer, ShortAndLongWordsAreMergedAlike) {
  // Words of over 32 bytes take another path. No merge has a byte of ÿ, so the merges before it are the same in both.
  const Tokenizer tokenizer = Tokenizer::train(shape_captions(500), 700);
  Rng rng(3, Purpose::kTest);
  std::size_t merged = 0;
  for (int i = 0; i < 300; ++i) {
    std::string word, tail;
    for (std::int64_t n = rng.integer(2, 28); n > 0; --n) word += "aeorstngl"[rng.integer(0, 8)];
    for (int n = 0; n < 20; ++n) tail += "ÿ";
    const Ids in_short = between_marks(tokenizer, word + "ÿ"), in_long = between_marks(tokenizer, word + tail);
    const std::size_t front = in_short.size() - 2;
    ASSERT_EQ(in_long.size(), front + tail.size());
    ASSERT_TRUE(std::equal(in_short.begin(), in_short.end() - 2, in_long.begin())) << word;
    merged += word.size() - front;
  }
  EXPECT_GT(merged, 300u);
}

TEST(Tokenizer, ALongSCountsAsSWhereTheReferenceIgnoresCase) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(between_marks(tokenizer, "it'ſ").size(), 5u);
  EXPECT_EQ(between_marks(tokenizer, "it'ſ")[2], inner('\''));            // 'ſ is one word
  EXPECT_EQ(between_marks(tokenizer, "<|ſtartoftext|>")[1], inner('|'));  // one word, but no mark
}

TEST(Tokenizer, CutTextKeepsItsEnd) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(tokenizer.encode_padded("abc", 4), (Ids{kStart, inner('a'), inner('b'), kEnd}));
  EXPECT_EQ(tokenizer.encode_padded("abc", 5), tokenizer.encode("abc"));
  EXPECT_THROW(tokenizer.encode_padded("a", 1), std::logic_error);
}

TEST(Tokenizer, ATextThatIsTooLongIsRefusedWhereAskedFor) {
  const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly);
  EXPECT_EQ(tokenizer.encode_padded("abc", 5, TooLong::kRefuse), tokenizer.encode("abc"));
  try {
    tokenizer.encode_padded("abc", 4, TooLong::kRefuse);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_NE(std::string(error.what()).find("'abc'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("text_tower.too_long"), std::string::npos) << error.what();
  }
}

TEST(Tokenizer, PadsWithZeroAsOpenAiOrWithTheEndAsHuggingFace) {
  for (const auto& cleaning : kTextCleanings) {
    const Tokenizer tokenizer = Tokenizer::train({}, kBytesOnly, cleaning.value);
    const std::int64_t pad = cleaning.value == TextCleaning::kHuggingFace ? kEnd : 0;
    EXPECT_EQ(tokenizer.pad_id(), pad);
    EXPECT_EQ(tokenizer.encode_padded("a", 5), (Ids{kStart, last('a'), kEnd, pad, pad})) << cleaning.name;
    EXPECT_EQ(tokenizer.encode_padded("", 4), (Ids{kStart, kEnd, pad, pad})) << cleaning.name;
  }
}

TEST(Tokenizer, EachCleaningHasItsOwnMarks) {
  const auto encoded = [](TextCleaning cleaning, const std::string& text) {
    return between_marks(Tokenizer::train({}, kBytesOnly, cleaning), text);
  };
  EXPECT_EQ(encoded(TextCleaning::kOpenClip, "<start_of_text>"), (Ids{kStart}));
  EXPECT_EQ(encoded(TextCleaning::kOpenClip, "<|endoftext|>").size(), 13u);
  EXPECT_EQ(encoded(TextCleaning::kHuggingFace, "<|endoftext|>"), (Ids{kEnd}));
  EXPECT_EQ(encoded(TextCleaning::kHuggingFace, "<|EndOfText|>").size(), 13u);  // only as it is written
}

TEST(Tokenizer, RefusesAVocabularyWithoutRoomForTheBytes) { EXPECT_THROW(Tokenizer::train({}, kBytesOnly - 1), Error); }

}  // namespace
}  // namespace lacuna
