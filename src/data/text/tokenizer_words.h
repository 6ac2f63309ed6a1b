#pragma once
// Cuts a caption into the words that are encoded one by one.

#include <functional>
#include <string_view>

#include "data/text/clean.h"

namespace lacuna {

enum class WordKind { kPlain, kStart, kEnd };

struct Word {
  std::string_view text;  // cleaned UTF-8, valid during the visit; of kStart and kEnd the mark itself
  WordKind kind = WordKind::kPlain;
};

// How the marks are spelled in captions.
struct Marks {
  std::string_view start, end;
};
inline constexpr Marks kOpenAiMarks = {"<|startoftext|>", "<|endoftext|>"};
inline constexpr Marks kOpenClipMarks = {"<start_of_text>", "<end_of_text>"};
Marks marks_of(TextCleaning cleaning);

// Cleans the caption and visits its words in order: the marks, the contractions 's 't 're 've 'm 'll 'd, runs of
// letters (Unicode category L), single digits (N), and runs of anything else but space.
void for_each_word(std::string_view caption, TextCleaning cleaning, const std::function<void(const Word&)>& visit);

}  // namespace lacuna
