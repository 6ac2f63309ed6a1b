#include "data/text/tokenizer_files.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "data/text/tokenizer_bytes.h"
#include "data/text/tokenizer_gzip.h"
#include "data/text/tokenizer_words.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kVocabulary = "vocab.json";
constexpr const char* kMerges = "merges.txt";
constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kOpenAi = "bpe_simple_vocab_16e6.txt";
constexpr const char* kOpenAiPacked = "bpe_simple_vocab_16e6.txt.gz";
constexpr const char* kCleaningKey = "lacuna_cleaning";

constexpr std::string_view kVersionLine = "#version: 0.2";
constexpr std::uint64_t kMaxFile = 16 << 20;
constexpr std::uint64_t kMaxUnpacked = 64 << 20;
constexpr std::size_t kOpenAiMerges = 48894;  // 49152 - 256 - 2: what CLIP takes of the 262,144 in its file
constexpr std::size_t kMaxTokenBytes = 1024;

// ---- Tokens by id ----

// Ids may come in any order and from two lists; in the end each must be there once.
class TokenTable {
 public:
  TokenTable(std::string place, std::size_t size) : place_(std::move(place)), tokens_(size) {}

  void add(const std::string& token, const Json& id) {
    const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() < tokens_.size() && !token.empty();
    if (!fits || (!tokens_[id.get<std::size_t>()].empty() && tokens_[id.get<std::size_t>()] != token)) {
      fail_data(place_, ": token '", printable(token), "' has the id ", printable(id.dump()),
                "; expected each number below ", tokens_.size(), " once");
    }
    if (token.size() > kMaxTokenBytes)
      fail_data(place_, ": a token of ", token.size(), " bytes; expected at most ", kMaxTokenBytes);
    tokens_[id.get<std::size_t>()] = token;
  }

  std::vector<std::string> take() { return std::move(tokens_); }

 private:
  std::string place_;
  std::vector<std::string> tokens_;
};

const Json& object_of(const Json& json, const std::string& place) {
  if (!json.is_object() || json.size() > kMaxVocabulary)
    fail_data(place, ": expected an object of at most ", kMaxVocabulary, " tokens, found ", json.type_name(), " of ",
              json.size());
  return json;
}

// ---- merges ----

MergeSpelling split_merge(std::string_view line, const std::string& place) {
  const std::size_t space = line.find(' ');
  const bool two = space != std::string_view::npos && space > 0 && space + 1 < line.size() && space == line.rfind(' ');
  if (!two || line.size() > kMaxTokenBytes)
    fail_data(place, ": expected two symbols and one space between them, found '", printable(line), "'");
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// The first `limit` merges of a text, one a line. A first line that names a version is none.
std::vector<MergeSpelling> split_merges(std::string_view content, const std::string& place, std::size_t limit) {
  std::vector<MergeSpelling> merges;
  std::size_t number = 0;
  while (!content.empty() && merges.size() < limit) {
    const std::size_t end = std::min(content.find('\n'), content.size());
    std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool header = number == 1 && line.find("#version") != std::string_view::npos;
    if (line.empty() || header) continue;
    if (merges.size() >= kMaxVocabulary) fail_data(place, ": more than ", kMaxVocabulary, " merges");
    merges.push_back(split_merge(line, text(place, ":", number)));
  }
  return merges;
}

// ---- The three layouts ----

VocabularyFile read_pair(const fs::path& folder) {
  for (const char* name : {kVocabulary, kMerges}) {
    check(fs::exists(folder / name), folder.string(), ": ", name,
          " is missing; vocab.json and merges.txt belong together. Copy both from one and the same CLIP folder");
  }
  const std::string place = (folder / kVocabulary).string();
  const Json json = read_json(folder / kVocabulary, kMaxFile);
  TokenTable table(place, object_of(json, place).size());
  for (const auto& [token, id] : json.items()) table.add(token, id);
  const fs::path merges = folder / kMerges;
  return {.place = folder.string(),
          .tokens = table.take(),
          .merges = split_merges(read_file(merges, kMaxFile), merges.string(), SIZE_MAX)};
}

const Json& member(const Json& json, const char* key, const std::string& place) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (!json.is_object() || found == json.end())
    fail_data(place, ": expected the key '", key, "', found none. Is this the tokenizer.json of a CLIP?");
  return *found;
}

void check_model(const Json& model, const std::string& place) {
  const auto expect = [&](const char* key, const Json& wanted) {
    const Json& found = member(model, key, place + ": model");
    if (found != wanted)
      fail_data(place, ": model.", key, ": expected ", wanted.dump(), " as in CLIP's tokenizer, found ",
                printable(found.dump()));
  };
  expect("type", "BPE");
  expect("end_of_word_suffix", std::string(kEndOfWord));
}

MergeSpelling read_merge(const Json& merge, const std::string& place) {
  if (merge.is_string()) return split_merge(merge.get<std::string>(), place);
  const bool two = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
  if (!two) fail_data(place, ": expected \"left right\" or [\"left\", \"right\"], found ", merge.type_name());
  return {merge[0].get<std::string>(), merge[1].get<std::string>()};
}

std::vector<MergeSpelling> read_merge_list(const Json& list, const std::string& place) {
  if (!list.is_array() || list.size() > kMaxVocabulary)
    fail_data(place, ": model.merges: expected a list of at most ", kMaxVocabulary, " merges");
  std::vector<MergeSpelling> merges;
  for (const Json& merge : list)
    merges.push_back(read_merge(merge, text(place, ": model.merges[", merges.size(), "]")));
  return merges;
}

// Marks may stand in the vocabulary, among the added tokens, or in both.
VocabularyFile read_tokenizer_json(const fs::path& file) {
  const std::string place = file.string();
  const Json json = read_json(file, kMaxFile);
  const Json& model = member(json, "model", place);
  check_model(model, place);
  const Json& vocabulary = object_of(member(model, "vocab", place + ": model"), place + ": model.vocab");
  std::vector<std::pair<std::string, Json>> added;
  if (const auto list = json.find("added_tokens"); list != json.end() && list->is_array()) {
    if (list->size() > kMaxVocabulary) fail_data(place, ": added_tokens: more than ", kMaxVocabulary);
    for (const Json& token : *list) {
      const Json& content = member(token, "content", place + ": added_tokens");
      if (!content.is_string()) fail_data(place, ": added_tokens: expected a text as 'content'");
      const auto name = content.get<std::string>();
      if (!vocabulary.contains(name)) added.emplace_back(name, member(token, "id", place + ": added_tokens"));
    }
  }
  TokenTable table(place, vocabulary.size() + added.size());
  for (const auto& [token, id] : vocabulary.items()) table.add(token, id);
  for (const auto& [token, id] : added) table.add(token, id);
  return {.place = place,
          .tokens = table.take(),
          .merges = read_merge_list(member(model, "merges", place + ": model"), place)};
}

VocabularyFile read_openai(const fs::path& file) {
  const std::string content =
      file.extension() == ".gz" ? read_gzip(file, kMaxFile, kMaxUnpacked) : read_file(file, kMaxFile);
  VocabularyFile out{.place = file.string(), .tokens = byte_symbols()};
  out.merges = split_merges(content, out.place, kOpenAiMerges);
  if (out.merges.empty()) fail_data(out.place, ": expected one merge a line, found none");
  for (const auto& [left, right] : out.merges) out.tokens.push_back(left + right);
  out.tokens.emplace_back(kOpenAiMarks.start);
  out.tokens.emplace_back(kOpenAiMarks.end);
  return out;
}

// ---- tokenizer_config.json ----

// A token is written as its text, or as an object with it.
std::string token_text(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  const auto content = json.is_object() ? json.find("content") : json.end();
  return json.is_object() && content != json.end() && content->is_string() ? content->get<std::string>() : "";
}

TextCleaning read_cleaning(const Json& name, const std::string& place) {
  std::string names;
  for (const auto& cleaning : kTextCleanings) {
    if (name.is_string() && name.get<std::string>() == cleaning.name) return cleaning.value;
    names += (names.empty() ? "" : ", ") + std::string(cleaning.name);
  }
  fail_data(place, ": ", kCleaningKey, ": expected one of ", names, ", found ", printable(name.dump()));
}

void read_config(const fs::path& folder, VocabularyFile& out) {
  const fs::path file = folder / kConfig;
  if (!fs::exists(file)) return;
  const Json json = read_json(file, kMaxFile);
  if (!json.is_object()) fail_data(file.string(), ": expected an object, found ", json.type_name());
  if (const auto cleaning = json.find(kCleaningKey); cleaning != json.end())
    out.cleaning = read_cleaning(*cleaning, file.string());
  if (const auto pad = json.find("pad_token"); pad != json.end()) out.pad_token = token_text(*pad);
}

VocabularyFile read_folder(const fs::path& folder) {
  const auto has = [&](const char* name) { return fs::exists(folder / name); };
  if (has(kVocabulary) && has(kMerges)) return read_pair(folder);
  if (has(kTokenizer)) return read_tokenizer_json(folder / kTokenizer);
  if (has(kOpenAiPacked)) return read_openai(folder / kOpenAiPacked);
  if (has(kOpenAi)) return read_openai(folder / kOpenAi);
  if (has(kVocabulary) || has(kMerges)) return read_pair(folder);  // says which one is missing
  fail(folder.string(), ": no tokenizer here: expected vocab.json and merges.txt, tokenizer.json, or ", kOpenAiPacked,
       ". Copy them from a CLIP folder, or make one: lacuna tokenizer train DATA out=DIR");
}

VocabularyFile read_file_by_name(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == kVocabulary || name == kMerges) return read_pair(file.parent_path());
  if (file.extension() == ".json") return read_tokenizer_json(file);
  if (file.extension() == ".gz" || file.extension() == ".txt") return read_openai(file);
  fail(file.string(), ": expected vocab.json, merges.txt, tokenizer.json or ", kOpenAiPacked,
       ", or a folder with them; found a file of another name");
}

}  // namespace

VocabularyFile read_vocabulary(const fs::path& path) {
  std::error_code ignored;
  check(fs::exists(path, ignored), path.string(),
        ": no such file or folder; expected a tokenizer: a folder with vocab.json and merges.txt, tokenizer.json, or ",
        kOpenAiPacked);
  const bool folder = fs::is_directory(path, ignored);
  VocabularyFile out = folder ? read_folder(path) : read_file_by_name(path);
  read_config(folder ? path : path.parent_path(), out);
  return out;
}

void write_vocabulary(const VocabularyFile& vocabulary, const std::string& start, const std::string& end,
                      const fs::path& folder) {
  fs::create_directories(folder);
  Json ids = Json::object();
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) ids[vocabulary.tokens[i]] = i;
  std::string merges = std::string(kVersionLine) + "\n";
  for (const auto& [left, right] : vocabulary.merges) merges += left + " " + right + "\n";
  write_file_atomic(folder / kMerges, merges);
  write_json_atomic(folder / kVocabulary, ids);
  write_json_atomic(folder / kConfig, {{"tokenizer_class", "CLIPTokenizer"},
                                       {"bos_token", start},
                                       {"eos_token", end},
                                       {"unk_token", end},
                                       {"pad_token", vocabulary.pad_token.empty() ? end : vocabulary.pad_token},
                                       {kCleaningKey, cleaning_name(vocabulary.cleaning.value_or(kDefaultCleaning))}});
}

}  // namespace lacuna
