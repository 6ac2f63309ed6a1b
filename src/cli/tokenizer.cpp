#include "data/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "cli/run_config.h"
#include "data/source/text_file.h"
#include "data/text/tokenizer_bytes.h"
#include "data/text/unicode.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownMerges = 8;
constexpr const char* kUsage =
    "tokenizer: expected one of\n"
    "  lacuna tokenizer train DATA out=DIR [vocabulary=N] [cleaning=NAME]\n"
    "  lacuna tokenizer encode TOKENIZER \"text\" … [cleaning=NAME]\n"
    "  lacuna tokenizer show TOKENIZER [cleaning=NAME]";

struct TrainTokenizerConfig {
  DataConfig data;
  std::string out;
  int vocabulary = 1024;
  TextCleaning cleaning = kDefaultCleaning;
  int draws = 5;
  uint64_t seed = 0;

  void fields(Fields& f) {
    f.table("data", data, {.help = "where the captions are", .shorthand = "path"});
    f.add("out", out, {.help = "new or empty folder for vocab.json and merges.txt"});
    f.add("vocabulary", vocabulary,
          {.help = "tokens at most, start and end included", .min = 514, .max = static_cast<double>(kMaxVocabulary)});
    f.add("cleaning", cleaning, kTextCleanings, {.help = "what is done to captions first; kept in the folder"});
    f.add("draws", draws, {.help = "captions drawn for each image; some have several", .min = 1, .max = 100});
    f.add("seed", seed, {.help = "of the draws"});
  }
};

// A text file with tabs in its first line is a list of images (data/source/list_file.h); any other has a caption in
// each line.
bool is_caption_file(const DataConfig& data) {
  const fs::path path = data.path;
  if (data.kind != SourceKind::kAuto || path.extension() != ".txt" || !fs::is_regular_file(path)) return false;
  std::string first;
  return TextFile(path).line(first) && first.find('\t') == std::string::npos;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  TextFile file(path);
  for (std::string line; file.line(line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> captions_of(const TrainTokenizerConfig& c) {
  if (is_caption_file(c.data)) return lines_of(c.data.path);
  const auto source = open_source(c.data.source(), Split::kTrain);
  std::vector<std::string> captions;
  for (int draw = 0; draw < c.draws; ++draw) {
    for (int64_t i = 0; i < source->size(); ++i) {
      Rng rng(c.seed, Purpose::kCaption, static_cast<uint64_t>(draw), static_cast<uint64_t>(i));
      captions.push_back(source->caption(i, rng));
    }
  }
  return captions;
}

void print_vocabulary(const Tokenizer& tokenizer) {
  std::cout << tokenizer.vocab_size() << " tokens, " << tokenizer.merges().size() << " merges; start "
            << tokenizer.start_id() << ", end " << tokenizer.end_id() << ", padding " << tokenizer.pad_id()
            << "; cleaning " << cleaning_name(tokenizer.cleaning()) << "\n";
}

// As it is where it is letters, digits or ASCII; else what printable() makes of it.
std::string shown(const std::string& text) {
  for (const char32_t c : decode_utf8(text)) {
    const bool plain = is_letter(c) || is_number(c) || (c >= ' ' && c <= '~');
    if (!plain) return printable(text);
  }
  return text;
}

// What a token stands for: its bytes, with a space after a word's end.
std::string piece(const Tokenizer& tokenizer, int64_t id) {
  const std::string& token = tokenizer.token(id);
  const auto bytes = spelled_bytes(token);
  return bytes && id != tokenizer.start_id() && id != tokenizer.end_id()
             ? *bytes + (token.ends_with(kEndOfWord) ? " " : "")
             : token;
}

int train(std::span<const std::string> arguments) {
  check(!arguments.empty() && arguments[0].find('=') == std::string::npos,
        "tokenizer train: name the captions first: a list with captions, a .txt with one caption a line, or shapes");
  TrainTokenizerConfig c;
  Settings settings;
  settings.override_with(arguments.subspan(1));
  check(!settings.has("data.path"), "tokenizer train: the captions are named twice, as ", arguments[0],
        " and as data.path");
  apply(settings, c);
  c.data.path = arguments[0];
  check(!c.out.empty(), "tokenizer train: no folder for the tokenizer; add out=DIR");
  check(!fs::exists(c.out) || (fs::is_directory(c.out) && fs::is_empty(c.out)), "out: ", c.out,
        " is there already and not empty; nothing is overwritten, so name another folder");
  const std::vector<std::string> captions = captions_of(c);
  const bool empty = std::all_of(captions.begin(), captions.end(), [](const std::string& s) { return s.empty(); });
  check(!empty, "tokenizer train: ", c.data.path,
        " has no captions; use a list with captions, a .txt with one caption a line, or data.class_captions for a "
        "labelled source");
  const Tokenizer tokenizer = Tokenizer::train(captions, c.vocabulary, c.cleaning);
  tokenizer.save(c.out);
  print_vocabulary(tokenizer);
  std::size_t tokens = 0;
  for (const std::string& caption : captions) tokens += tokenizer.encode(caption).size();
  std::cout << captions.size() << " captions, " << static_cast<double>(tokens) / static_cast<double>(captions.size())
            << " tokens each with start and end\nwritten to " << c.out << "; use it with text.tokenizer=" << c.out
            << "\n";
  return 0;
}

struct OpenedTokenizer {
  Tokenizer tokenizer;
  std::vector<std::string> texts;
};

// TOKENIZER, texts, and cleaning=NAME in any place after it.
OpenedTokenizer open(std::span<const std::string> arguments) {
  struct Config {
    TextCleaning cleaning = kDefaultCleaning;
    void fields(Fields& f) { f.add("cleaning", cleaning, kTextCleanings, {.help = "what is done to captions first"}); }
  };
  check(!arguments.empty(), kUsage);
  std::vector<std::string> texts, keys;
  for (const std::string& argument : arguments.subspan(1)) {
    (argument.starts_with("cleaning=") || argument.starts_with("--cleaning=") ? keys : texts).push_back(argument);
  }
  Config config;
  Settings settings;
  settings.override_with(keys);
  apply(settings, config);
  const auto cleaning = keys.empty() ? std::nullopt : std::optional(config.cleaning);
  return {Tokenizer::load(arguments[0], cleaning), std::move(texts)};
}

int encode(std::span<const std::string> arguments) {
  const auto [tokenizer, texts] = open(arguments);
  check(!texts.empty(), "tokenizer encode: no text; lacuna tokenizer encode ", arguments[0], " \"a photo of a cat\"");
  for (const std::string& text : texts) {
    const std::vector<int64_t> ids = tokenizer.encode(text);
    for (std::size_t i = 0; i < ids.size(); ++i) std::cout << (i == 0 ? "" : " ") << ids[i];
    std::cout << "\n ";
    for (const int64_t id : ids) std::cout << " [" << shown(piece(tokenizer, id)) << "]";
    std::cout << "\n";
  }
  return 0;
}

int show(std::span<const std::string> arguments) {
  const auto [tokenizer, texts] = open(arguments);
  check(texts.empty(), "tokenizer show: one folder or file, found also '", texts.empty() ? "" : texts[0], "'");
  print_vocabulary(tokenizer);
  std::vector<std::pair<std::size_t, std::string>> pieces;  // by length in characters
  for (const auto& [left, right] : tokenizer.merges()) {
    std::string piece = spelled_bytes(left + right).value_or(left + right);
    pieces.emplace_back(decode_utf8(piece).size(), std::move(piece));
  }
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  pieces.resize(std::min(pieces.size(), kShownMerges));
  if (!pieces.empty()) std::cout << "longest merges:";
  for (const auto& [length, piece] : pieces) std::cout << " [" << shown(piece) << "]";
  if (!pieces.empty()) std::cout << "\n";
  return 0;
}

}  // namespace

int tokenizer_command(Arguments arguments) {
  check(!arguments.empty(), kUsage);
  const auto rest = arguments.subspan(1);
  if (arguments[0] == "train") return train(rest);
  if (arguments[0] == "encode") return encode(rest);
  if (arguments[0] == "show") return show(rest);
  fail(kUsage, "\nfound '", arguments[0], "'");
}

std::string tokenizer_keys() { return describe(TrainTokenizerConfig{}); }

}  // namespace lacuna
