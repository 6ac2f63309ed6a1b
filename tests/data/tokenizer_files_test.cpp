// Vocabulary files: the three layouts, and what is said of broken ones.

#include "data/text/tokenizer_files.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "data/text/tokenizer.h"
#include "data/text/tokenizer_gzip.h"
#include "io/files.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kPacked = "bpe_simple_vocab_16e6.txt.gz";
constexpr std::uint64_t kPlenty = 1 << 20;

const std::vector<std::string> kTexts = {"the cat", "the cat sat", "the mat", "naïve \xFF 7", "<|endoftext|>"};

Tokenizer small() { return Tokenizer::train(std::vector<std::string>{"the cat", "the cat sat", "the mat"}, 520); }

std::string packed(const std::string& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, content.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The merges in OpenAI's layout.
std::string openai_text(const Tokenizer& tokenizer) {
  std::string out = "\"bpe_simple_vocab_16e6.txt#version: 0.2\n";
  for (const auto& [left, right] : tokenizer.merges()) out += left + " " + right + "\n";
  return out;
}

Json tokenizer_json(const Tokenizer& tokenizer) {
  Json vocabulary = Json::object(), merges = Json::array();
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id) vocabulary[tokenizer.token(id)] = id;
  for (const auto& [left, right] : tokenizer.merges()) merges.push_back(left + " " + right);
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", tokenizer.start_id()}, {"content", "<|startoftext|>"}},
            {{"id", tokenizer.end_id()}, {"content", "<|endoftext|>"}}}},
          {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

// What loading says; empty where it is content.
std::string fault(const fs::path& path) {
  try {
    Tokenizer::load(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void expect_same(const Tokenizer& a, const Tokenizer& b) {
  ASSERT_EQ(a.vocab_size(), b.vocab_size());
  for (std::int64_t id = 0; id < a.vocab_size(); ++id) ASSERT_EQ(a.token(id), b.token(id));
  for (const std::string& text : kTexts) EXPECT_EQ(a.encode(text), b.encode(text)) << text;
}

TEST(TokenizerFiles, AllLayoutsGiveTheSameTokenizer) {
  const testing::TemporaryFolder folder;
  const Tokenizer trained = small();
  trained.save(folder / "pair");
  expect_same(Tokenizer::load(folder / "pair"), trained);
  expect_same(Tokenizer::load(folder / "pair" / "merges.txt"), trained);

  for (const char* name : {"json", "gz", "txt"}) fs::create_directory(folder / name);
  write_json_atomic(folder / "json" / "tokenizer.json", tokenizer_json(trained));
  expect_same(Tokenizer::load(folder / "json"), trained);
  write_file_atomic(folder / "gz" / kPacked, packed(openai_text(trained)));
  expect_same(Tokenizer::load(folder / "gz"), trained);
  expect_same(Tokenizer::load(folder / "gz" / kPacked), trained);
  write_file_atomic(folder / "txt" / "merges_of_mine.txt", openai_text(trained));
  expect_same(Tokenizer::load(folder / "txt" / "merges_of_mine.txt"), trained);
}

TEST(TokenizerFiles, MarksMayStandAmongTheAddedTokensAlone) {
  const testing::TemporaryFolder folder;
  const Tokenizer trained = small();
  Json json = tokenizer_json(trained);
  for (const char* mark : {"<|startoftext|>", "<|endoftext|>"}) json["model"]["vocab"].erase(mark);
  for (Json& merge : json["model"]["merges"]) {  // and newer files have merges as pairs
    const auto text = merge.get<std::string>();
    merge = Json::array({text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)});
  }
  write_json_atomic(folder / "tokenizer.json", json);
  expect_same(Tokenizer::load(folder), trained);
}

TEST(TokenizerFiles, VocabulariesMayNameTheMarksAsOpenClipDoes) {
  const testing::TemporaryFolder folder;
  small().save(folder);
  std::string vocabulary = read_file(folder / "vocab.json", kPlenty);
  vocabulary.replace(vocabulary.find("<|startoftext|>"), 15, "<start_of_text>");
  vocabulary.replace(vocabulary.find("<|endoftext|>"), 13, "<end_of_text>");
  write_file_atomic(folder / "vocab.json", vocabulary);
  EXPECT_EQ(Tokenizer::load(folder).end_id(), small().end_id());
}

TEST(TokenizerFiles, TheCleaningIsKeptAndMayBeOverruled) {
  const testing::TemporaryFolder folder;
  for (const auto& cleaning : kTextCleanings) {
    Tokenizer::train({}, 514, cleaning.value).save(folder / cleaning.name);
    EXPECT_EQ(Tokenizer::load(folder / cleaning.name).cleaning(), cleaning.value);
    EXPECT_EQ(Tokenizer::load(folder / cleaning.name, TextCleaning::kOpenClip).cleaning(), TextCleaning::kOpenClip);
  }
  fs::remove(folder / "hugging_face" / "tokenizer_config.json");  // a folder of somebody else
  EXPECT_EQ(Tokenizer::load(folder / "hugging_face").cleaning(), kDefaultCleaning);
}

TEST(TokenizerFiles, HuggingFacePadsWithThePadTokenOfItsFolder) {
  const testing::TemporaryFolder folder;
  small().save(folder);
  for (const Json& pad : {Json("!"), Json({{"content", "!"}})}) {
    write_json_atomic(folder / "tokenizer_config.json", {{"pad_token", pad}});
    EXPECT_EQ(Tokenizer::load(folder, TextCleaning::kHuggingFace).pad_id(), 0);
  }
  write_json_atomic(folder / "tokenizer_config.json", {{"pad_token", nullptr}});
  EXPECT_EQ(Tokenizer::load(folder, TextCleaning::kHuggingFace).pad_id(), small().end_id());
}

TEST(TokenizerFiles, WhatIsMissingIsNamed) {
  const testing::TemporaryFolder folder;
  EXPECT_NE(fault(folder).find("no tokenizer here"), std::string::npos);
  EXPECT_NE(fault(folder / "nothing").find("no such file or folder"), std::string::npos);
  small().save(folder);
  fs::remove(folder / "merges.txt");
  EXPECT_NE(fault(folder).find("merges.txt is missing"), std::string::npos);
  EXPECT_NE(fault(folder / "vocab.json").find("merges.txt is missing"), std::string::npos);
  write_file_atomic(folder / "model.bin", "x");
  EXPECT_NE(fault(folder / "model.bin").find("another name"), std::string::npos);
}

TEST(TokenizerFiles, BrokenPairsAreNamedWithTheirFault) {
  const testing::TemporaryFolder folder;
  const auto expect_fault = [&](const char* file, const std::string& from, const std::string& to, const char* said) {
    small().save(folder);
    std::string content = read_file(folder / file, kPlenty);
    const std::size_t at = content.find(from);
    ASSERT_NE(at, std::string::npos) << from << " is not in " << file;
    write_file_atomic(folder / file, content.replace(at, from.size(), to));
    const std::string found = fault(folder);
    EXPECT_NE(found.find(said), std::string::npos) << "found: " << found;
    EXPECT_NE(found.find(folder.path().string()), std::string::npos) << "found: " << found;
  };
  expect_fault("vocab.json", "\"!\": 0", "\"!\": 1", "expected each number below");
  expect_fault("vocab.json", "\"!\": 0", "\"!\": -1", "expected each number below");
  expect_fault("vocab.json", "\"!\": 0", "\"!\": \"0\"", "expected each number below");
  expect_fault("vocab.json", "\"!\": 0", "\"!\": 4294967296", "expected each number below");
  expect_fault("vocab.json", "\"!\": 0", "\"!!!\": 0", "lacks '!'");
  expect_fault("vocab.json", "\"!\": 0", "\"" + std::string(2000, '!') + "\": 0", "a token of 2000 bytes");
  expect_fault("vocab.json", "<|endoftext|>", "<|end|>", "lacks '<|endoftext|>'");
  expect_fault("vocab.json", "{", "", "vocab.json");
  expect_fault("merges.txt", "t h", "th", "merges.txt:");
  expect_fault("merges.txt", "t h", "t h e", "expected two symbols");
  expect_fault("merges.txt", "t h", "q z", "which is part of a merge");
  expect_fault("tokenizer_config.json", "\"openai\"", "\"open_ai\"", "expected one of openai, openai_without_ftfy");
}

TEST(TokenizerFiles, BrokenTokenizerJsonIsNamedWithItsFault) {
  const testing::TemporaryFolder folder;
  const auto expect_fault = [&](const std::function<void(Json&)>& spoil, const char* said) {
    Json json = tokenizer_json(small());
    spoil(json);
    write_json_atomic(folder / "tokenizer.json", json);
    const std::string found = fault(folder);
    EXPECT_NE(found.find(said), std::string::npos) << "found: " << found;
  };
  expect_fault([](Json& j) { j.erase("model"); }, "expected the key 'model'");
  expect_fault([](Json& j) { j["model"]["type"] = "WordPiece"; }, "model.type: expected \"BPE\"");
  expect_fault([](Json& j) { j["model"]["end_of_word_suffix"] = nullptr; }, "model.end_of_word_suffix");
  expect_fault([](Json& j) { j["model"]["vocab"] = Json::array(); }, "expected an object");
  expect_fault([](Json& j) { j["model"]["merges"] = 3; }, "model.merges");
  expect_fault([](Json& j) { j["model"]["merges"][1] = Json::array({"t"}); }, "model.merges[1]");
  expect_fault([](Json& j) { j["added_tokens"][0]["content"] = 1; }, "expected a text as 'content'");
  expect_fault([](Json& j) { j = Json::array(); }, "expected the key 'model'");
}

TEST(TokenizerFiles, BrokenGzipIsNamedWithItsFault) {
  const testing::TemporaryFolder folder;
  const std::string good = packed(openai_text(small()));
  const auto expect_fault = [&](const std::string& content, const char* said) {
    write_file_atomic(folder / kPacked, content);
    const std::string found = fault(folder);
    EXPECT_NE(found.find(said), std::string::npos) << "found: " << found;
  };
  expect_fault("text", "expected a gzip or zstd file");
  expect_fault(good.substr(0, good.size() / 2), "ends too early");
  expect_fault(good.substr(0, good.size() - 1), "ends too early");
  expect_fault(good + "x", "1 bytes follow");
  std::string damaged = good;
  damaged[good.size() - 6] = static_cast<char>(damaged[good.size() - 6] ^ 1);  // of the checksum
  expect_fault(damaged, "damaged");
  expect_fault(packed("#version\n"), "found none");
  expect_fault(packed("#version\nt h\nt h\n"), "there twice");
  expect_fault(packed("#version\nth e\n"), "part of a merge");
}

TEST(TokenizerFiles, AGzipThatWouldFillTheMemoryIsRefused) {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "bomb.gz", packed(std::string(kPlenty + 1, 'a')));
  EXPECT_LT(fs::file_size(folder / "bomb.gz"), 5000u);
  EXPECT_THROW(read_gzip(folder / "bomb.gz", kPlenty, kPlenty), Error);
  EXPECT_EQ(read_gzip(folder / "bomb.gz", kPlenty, kPlenty + 1).size(), kPlenty + 1);
  EXPECT_THROW(read_gzip(folder / "bomb.gz", 10, kPlenty + 1), Error);
}

// Spoils a file at random places and loads it: an Error or a tokenizer that works, never anything else.
void expect_survives(const fs::path& file, const fs::path& opened, int rounds, std::uint64_t seed) {
  const std::string good = read_file(file, kPlenty);
  Rng rng(seed, Purpose::kTest);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string bad = good;
    for (std::int64_t n = rng.integer(1, 4); n > 0; --n) {
      const auto at = static_cast<std::size_t>(rng.integer(0, std::ssize(bad) - 1));
      switch (rng.integer(0, 3)) {
        case 0:
          bad[at] = static_cast<char>(rng.integer(0, 255));
          break;
        case 1:
          bad.erase(at, static_cast<std::size_t>(rng.integer(1, 40)));
          break;
        case 2:
          bad.insert(at, bad.substr(at / 2, static_cast<std::size_t>(rng.integer(1, 40))));
          break;
        default:
          bad.insert(at, 1, "\"{}[]:,0 \n"[rng.integer(0, 9)]);
      }
      if (bad.empty()) bad = " ";
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bad;
    try {
      const Tokenizer tokenizer = Tokenizer::load(opened);
      for (const std::string& text : kTexts) {
        for (const std::int64_t id : tokenizer.encode(text)) ASSERT_LT(id, tokenizer.vocab_size());
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  std::ofstream(file, std::ios::binary | std::ios::trunc) << good;
  EXPECT_GT(refused, rounds / 4);
}

TEST(TokenizerFiles, RandomDamageIsRefusedOrHarmless) {
  const testing::TemporaryFolder folder;
  small().save(folder / "pair");
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"})
    expect_survives(folder / "pair" / name, folder / "pair", 1000, 11);
  write_json_atomic(folder / "tokenizer.json", tokenizer_json(small()));
  expect_survives(folder / "tokenizer.json", folder / "tokenizer.json", 1000, 12);
  write_file_atomic(folder / kPacked, packed(openai_text(small())));
  expect_survives(folder / kPacked, folder / kPacked, 1000, 13);
}

}  // namespace
}  // namespace lacuna
