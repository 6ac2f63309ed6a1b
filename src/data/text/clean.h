#pragma once
// What CLIP's tokenizers do to a caption before they cut it into words.
//
//   openai               ftfy's repairs (text_repair.h), HTML references undone twice, space collapsed, lower case
//   openai_without_ftfy  the same without the repairs: OpenAI's code where ftfy is not installed
//   open_clip            as openai; the marks of start and end are spelled <start_of_text> and <end_of_text>
//   hugging_face         transformers' tokenizer: NFC, space collapsed, lower case; marks count only as they are
//   spelled
//
// openai is the default: the published weights of OpenAI and OpenCLIP were trained on captions cleaned that way, so it
// gives the ids that a network has learnt, also for a folder that transformers wrote. See docs/usage.md.

#include <string>
#include <string_view>

#include "base/config_fields.h"

namespace lacuna {

enum class TextCleaning { kOpenAi, kOpenAiWithoutFtfy, kOpenClip, kHuggingFace };

inline constexpr Named<TextCleaning> kTextCleanings[] = {
    {TextCleaning::kOpenAi, "openai",
     "repairs, HTML references, space, lower case: what CLIP's weights were trained with"},
    {TextCleaning::kOpenAiWithoutFtfy, "openai_without_ftfy", "the same without the repairs"},
    {TextCleaning::kOpenClip, "open_clip", "as openai, with OpenCLIP's marks of start and end"},
    {TextCleaning::kHuggingFace, "hugging_face", "as transformers: NFC, space, lower case; pads with the end"},
};

inline constexpr TextCleaning kDefaultCleaning = TextCleaning::kOpenAi;

std::string_view cleaning_name(TextCleaning cleaning);

// UTF-8 to UTF-8; what is no UTF-8 becomes U+FFFD. Equal to the reference programs wherever the repairs are
// (text_mojibake.h).
std::string clean_text(std::string_view caption, TextCleaning cleaning);

}  // namespace lacuna
