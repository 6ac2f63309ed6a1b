#include "io/tensor/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "io/files.h"
#include "support/shared.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

constexpr DType kAllDTypes[] = {DType::kBool, DType::kU8,  DType::kI8,  DType::kI16, DType::kU16,
                                DType::kI32,  DType::kU32, DType::kI64, DType::kU64, DType::kF16,
                                DType::kBF16, DType::kF32, DType::kF64};

class Safetensors : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& bytes, const std::string& name = "file.safetensors") const {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  // The sentence with which the file is refused, or "" if it is not.
  std::string refusal(const std::string& bytes) const {
    const std::filesystem::path path = write(bytes);
    try {
      TensorFile file(path);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      const std::string sentence = error.what();
      EXPECT_EQ(sentence.rfind(path.string() + ": ", 0), 0u) << sentence;
      return sentence;
    }
  }

  testing::TemporaryFolder folder_;
};

std::string framed(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

std::string bytes_of(const TensorInfo& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

struct Generated {
  std::vector<std::string> contents;
  std::vector<TensorView> views;
};

Generated generate(Rng& rng) {
  Generated made;
  const std::int64_t count = rng.integer(0, 20);
  for (std::int64_t i = 0; i < count; ++i) {
    TensorView view{text("blocks.", i, ".\"quoted\" \xC3\xBC\n"), kAllDTypes[rng.integer(0, 12)], {}, nullptr};
    std::size_t bytes = dtype_size(view.dtype);
    for (std::int64_t rank = rng.integer(0, 4); rank > 0; --rank) {
      view.shape.push_back(rng.integer(0, 5));
      bytes *= static_cast<std::size_t>(view.shape.back());
    }
    std::string content(bytes, '\0');
    for (char& c : content) c = static_cast<char>(rng.bits());
    made.contents.push_back(std::move(content));
    made.views.push_back(std::move(view));
  }
  for (std::size_t i = 0; i < made.views.size(); ++i) made.views[i].data = made.contents[i].data();
  return made;
}

TEST_F(Safetensors, WhatIsWrittenIsReadBack) {
  Rng rng(1, Purpose::kTest);
  std::set<DType> dtypes;
  int scalars = 0, empties = 0;
  for (int round = 0; round < 60; ++round) {
    const Generated made = generate(rng);
    const std::filesystem::path path = folder_ / "round.safetensors";
    const std::string hash = write_safetensors(path, made.views, {{"epoch", text(round)}, {"\xC3\xA9", "\"\\\n"}});
    EXPECT_EQ(hash, hash_file(path));
    const TensorFile file(path);
    EXPECT_EQ(file.metadata(),
              (std::map<std::string, std::string>{{"epoch", text(round)}, {"\xC3\xA9", "\"\\\n"}, {"format", "pt"}}));
    ASSERT_EQ(file.names().size(), made.views.size());
    for (std::size_t i = 0; i < made.views.size(); ++i) {
      const TensorInfo& tensor = file.at(made.views[i].name);
      EXPECT_EQ(tensor.dtype, made.views[i].dtype);
      EXPECT_EQ(tensor.shape, made.views[i].shape);
      EXPECT_EQ(bytes_of(tensor), made.contents[i]);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % dtype_size(tensor.dtype), 0u);
      dtypes.insert(tensor.dtype);
      scalars += tensor.shape.empty();
      empties += tensor.data.empty();
    }
  }
  EXPECT_EQ(dtypes.size(), std::size(kAllDTypes));
  EXPECT_GT(scalars, 10);
  EXPECT_GT(empties, 10);
}

TEST_F(Safetensors, EqualContentGivesEqualBytesAndLeavesNoOtherFile) {
  const float values[] = {1, 2, 3};
  const TensorView view{"w", DType::kF32, {3}, values};
  const std::string first = write_safetensors(folder_ / "a", {&view, 1}, {{"k", "v"}});
  EXPECT_EQ(write_safetensors(folder_ / "b", {&view, 1}, {{"k", "v"}}), first);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 2);
}

// Written by the Python package safetensors.
TEST_F(Safetensors, AFileOfThePythonPackageIsRead) {
  const std::string header =
      R"({"__metadata__":{"format":"pt","who":"python ü"},"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("b.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},)"
      R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},"e":{"dtype":"U8","shape":[0,3],"data_offsets":[28,28]},)"
      R"("t":{"dtype":"BOOL","shape":[3],"data_offsets":[28,31]}}   )";
  const char data[] =
      "\x07\0\0\0\0\0\0\0"
      "\0\0\xC0\x3F\0\0\0\xC0\0\0\x80\x3E\0\0\x40\x40"
      "\x80\x3F\x80\xBF"
      "\x01\0\x01";
  const TensorFile file(write(framed(header, std::string(data, sizeof(data) - 1))));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"s", "b.weight", "a", "e", "t"}));
  EXPECT_EQ(file.metadata().at("who"), "python ü");
  float weight[4];
  std::memcpy(weight, file.at("b.weight").data.data(), sizeof(weight));
  EXPECT_EQ((std::vector<float>(weight, weight + 4)), (std::vector<float>{1.5f, -2, 0.25f, 3}));
  EXPECT_EQ(file.at("b.weight").shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_TRUE(file.at("s").shape.empty());
  EXPECT_EQ(bytes_of(file.at("s"))[0], 7);
  EXPECT_EQ(file.at("e").shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(file.at("t").dtype, DType::kBool);
  EXPECT_EQ(file.at("a").dtype, DType::kBF16);
}

void read_all_below(const std::filesystem::path& folder) {
  std::size_t files = 0, tensors = 0;
  for (const auto& found : std::filesystem::recursive_directory_iterator(folder)) {
    if (found.path().extension() != ".safetensors") continue;
    ASSERT_NO_THROW({
      const TensorFile file(found.path());
      for (const std::string& name : file.names()) tensors += file.at(name).data.size() > 0;
    }) << found.path();
    ++files;
  }
  EXPECT_GT(files, 0u);
  EXPECT_GT(tensors, files);
}

TEST_F(Safetensors, EveryGoldenFileIsRead) {
  LACUNA_NEEDS_SHARED("golden");
  read_all_below(testing::shared_folder() / "golden");
}

TEST_F(Safetensors, EveryForeignFixtureIsRead) {
  LACUNA_NEEDS_SHARED("data/checkpoint_fixtures");
  read_all_below(testing::shared_folder() / "data/checkpoint_fixtures");
}

TEST_F(Safetensors, LegalCornersAreRead) {
  EXPECT_EQ(refusal(framed("{}")), "");
  EXPECT_EQ(refusal(framed("{}   \n ")), "");
  EXPECT_EQ(refusal(framed("{\"__metadata__\":{}}")), "");
  EXPECT_EQ(refusal(framed("{" + entry("late", "U8", "[2]", "[1,3]") + "," + entry("early", "U8", "[]", "[0,1]") + "," +
                               entry("none", "F64", "[0]", "[1,1]") + "}",
                           "abc")),
            "");
  EXPECT_EQ(refusal(framed("{" + entry(std::string(4096, 'n'), "U8", "[0]", "[0,0]") + "}")), "");
}

struct Corruption {
  std::string bytes;
  std::string sentence;
};

TEST_F(Safetensors, EveryViolationIsNamed) {
  const std::string good = entry("a", "F32", "[2]", "[0,8]");
  const std::string eight(8, 'x');
  const std::string brackets(100'000, '[');
  const std::string bad_utf8 = "\xFF";
  const std::vector<Corruption> corruptions = {
      {"", "expected at least the 8 bytes of a safetensors length, found 0 bytes"},
      {"1234567", "found 7 bytes"},
      {std::string(8, '\xFF'), "at most 100000000 bytes, found a length of 18446744073709551615"},
      {std::string("\x01\xE1\xF5\x05\0\0\0\0", 8), "at most 100000000 bytes, found a length of 100000001"},
      {std::string("\x09\0\0\0\0\0\0\0{}", 10), "expected a header of 9 bytes, found 2 bytes after its length"},
      {framed(""), "expected the header to begin with '{', found an empty header"},
      {framed(" {}"), "expected the header to begin with '{', found ' '"},
      {framed("[]"), "expected the header to begin with '{', found '['"},
      {framed("{"), "the header: expected UTF-8 JSON"},
      {framed("{} {}"), "the header: expected UTF-8 JSON, but byte 4"},
      {framed(std::string("{}\0rest", 7)), "found a zero byte"},
      {framed("{\"" + bad_utf8 + "\":1}"), "the header: expected UTF-8 JSON"},
      {framed("{\"a\":1}"), "'a': expected an object, found a number"},
      {framed("{\"a\":[]}"), "'a': expected an object, found an array"},
      {framed("{\"a\":" + brackets), "'a': expected an object, found an array"},
      {framed("{\"__metadata__\":null}"), "'__metadata__': expected an object, found null"},
      {framed("{\"__metadata__\":{\"k\":1}}"), "'k' of '__metadata__': expected a string, found a number"},
      {framed("{\"__metadata__\":{\"k\":{}}}"), "'k' of '__metadata__': expected a string, found an object"},
      {framed("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"),
       "'__metadata__': expected each key once, found 'k' twice"},
      {framed("{\"__metadata__\":{},\"__metadata__\":{}}"), "expected each name once, found '__metadata__' twice"},
      {framed("{" + good + "," + good + "}", eight), "expected each name once, found 'a' twice"},
      {framed("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}"), "'a': expected each key once, found 'dtype' twice"},
      {framed("{\"a\":{\"shape\":[],\"shape\":[]}}"), "'a': expected each key once, found 'shape' twice"},
      {framed("{\"a\":{\"extra\":1}}"), "'a': expected the keys dtype, shape and data_offsets, found 'extra'"},
      {framed("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}"), "'a': expected the key data_offsets, found none"},
      {framed("{\"a\":{}}"), "'a': expected the key dtype, found none"},
      {framed("{" + entry(std::string(4097, 'n'), "U8", "[0]", "[0,0]") + "}"),
       "names of at most 4096 bytes, found one of 4097"},
      {framed("{" + entry("a", "F8_E4M3", "[8]", "[0,8]") + "}", eight), "'dtype' of 'a': F8_E4M3 is not supported"},
      {framed("{" + entry("a", "C64", "[1]", "[0,8]") + "}", eight), "'dtype' of 'a': C64 is not supported"},
      {framed("{" + entry("a", "F4", "[16]", "[0,8]") + "}", eight), "'dtype' of 'a': F4 is not supported"},
      {framed("{" + entry("a", "f32", "[2]", "[0,8]") + "}", eight), "'dtype' of 'a': expected one of BOOL, U8"},
      {framed("{\"a\":{\"dtype\":3}}"), "'dtype' of 'a': expected a string, found a number"},
      {framed("{" + entry("a", "F32", "2", "[0,8]") + "}", eight), "'shape' of 'a': expected an array of integers"},
      {framed("{" + entry("a", "F32", "[-2]", "[0,8]") + "}", eight),
       "'shape' of 'a': expected integers from 0 to 2^63 - 1, found -2"},
      {framed("{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", eight), "found 2.0"},
      {framed("{" + entry("a", "F32", "[true]", "[0,8]") + "}", eight), "found a boolean"},
      {framed("{" + entry("a", "F32", "[[2]]", "[0,8]") + "}", eight), "found an array"},
      {framed("{" + entry("a", "F32", "[9223372036854775808]", "[0,8]") + "}", eight), "found 9223372036854775808"},
      {framed("{" + entry("a", "F32", "[99999999999999999999999]", "[0,8]") + "}", eight),
       "found 99999999999999999999999"},
      {framed("{" + entry("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", eight), "less than 2^63 bytes"},
      {framed("{" + entry("a", "U8", "[0,4294967296,4294967296]", "[0,0]") + "}"), "less than 2^63 bytes"},
      {framed("{" + entry("a", "U8", "[9223372036854775807,2,0]", "[0,0]") + "}"), "less than 2^63 bytes"},
      {framed("{" +
                  entry(
                      "a", "F32",
                      "[1" +
                          [] {
                            std::string s;
                            for (int i = 0; i < 64; ++i) s += ",1";
                            return s;
                          }() +
                          "]",
                      "[0,4]") +
                  "}",
              "1234"),
       "'shape' of 'a': expected at most 64 dimensions"},
      {framed("{" + entry("a", "F32", "[2]", "[0]") + "}", eight),
       "'data_offsets' of 'a': expected two integers, found 1"},
      {framed("{" + entry("a", "F32", "[2]", "[0,8,8]") + "}", eight),
       "'data_offsets' of 'a': expected two integers, found more"},
      {framed("{" + entry("a", "F32", "[2]", "[0,4]") + "}", "1234"),
       "'a': expected 8 bytes for shape [2] of F32, found 4"},
      {framed("{" + entry("a", "F32", "[2]", "[8,0]") + "}", eight),
       "'a': expected data_offsets that rise within the 8 bytes of data, found [8, 0]"},
      {framed("{" + good + "}", "1234567"), "found [0, 8]; the file is truncated"},
      {framed("{" + good + "}", eight + "y"),
       "expected the data to end after 8 bytes, with the last tensor, found 9 bytes"},
      {framed("{}", "y"), "expected the data to end after 0 bytes"},
      {framed("{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[3,5]") + "}", "12345"),
       "'b': expected its data to begin at 2, where the previous tensor ends, found 3 (a hole)"},
      {framed("{" + entry("a", "U8", "[3]", "[0,3]") + "," + entry("b", "U8", "[3]", "[2,5]") + "}", "12345"),
       "'b': expected its data to begin at 3, where the previous tensor ends, found 2 (an overlap)"},
      {framed("{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[0,2]") + "}", "12"),
       "(an overlap)"},
      {framed("{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[0]", "[1,1]") + "}", "12"),
       "(an overlap)"},
  };
  for (const Corruption& corruption : corruptions) {
    const std::string sentence = refusal(corruption.bytes);
    EXPECT_NE(sentence.find(corruption.sentence), std::string::npos)
        << "expected: " << corruption.sentence << "\nfound:    " << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    EXPECT_LT(sentence.size(), 1000u);
  }
}

std::string mutated(std::string bytes, Rng& rng) {
  switch (rng.integer(0, 3)) {
    case 0:  // bits anywhere
      for (std::int64_t flips = rng.integer(1, 4); flips > 0; --flips) {
        bytes[static_cast<std::size_t>(rng.integer(0, std::ssize(bytes) - 1))] ^=
            static_cast<char>(1 << rng.integer(0, 7));
      }
      return bytes;
    case 1:
      return bytes.substr(0, static_cast<std::size_t>(rng.integer(0, std::ssize(bytes) - 1)));
    case 2: {  // the length field
      const auto length =
          static_cast<std::uint64_t>(rng.chance(0.5) ? rng.integer(0, 1000) : rng.integer(INT64_MIN, INT64_MAX));
      std::memcpy(bytes.data(), &length, 8);
      return bytes;
    }
    default: {  // a digit or a sign of the header
      const std::size_t place =
          bytes.find_first_of("0123456789,:[]{}\"", static_cast<std::size_t>(rng.integer(8, 300)));
      if (place != std::string::npos) bytes[place] = "0123456789,:[]{}\"-e"[rng.integer(0, 18)];
      return bytes;
    }
  }
}

TEST_F(Safetensors, MutationsAreReadOrRefusedButNeverMore) {
  Rng rng(7, Purpose::kTest);
  Generated made;
  while (made.views.size() < 5) made = generate(rng);
  write_safetensors(folder_ / "seed", made.views, {{"key", "value"}});
  const std::string seed = read_file(folder_ / "seed", 1 << 20);
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::filesystem::path path = write(mutated(seed, rng), "mutant");
    try {
      const TensorFile file(path);
      unsigned sum = 0;
      for (const std::string& name : file.names()) {
        for (const std::byte b : file.at(name).data) sum += static_cast<unsigned>(b);
      }
      EXPECT_LE(sum, 255u * std::filesystem::file_size(path));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 2500);
  EXPECT_LT(refused, 5000);  // flips in the data or a name are legal
}

TEST_F(Safetensors, AMissingTensorSuggestsTheNearestNames) {
  const float value = 0;
  std::vector<TensorView> views;
  for (const char* name : {"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "cls_token"}) {
    views.push_back({name, DType::kF32, {}, &value});
  }
  write_safetensors(folder_ / "model", views);
  const TensorFile file(folder_ / "model");
  EXPECT_TRUE(file.has("pos_embed"));
  EXPECT_FALSE(file.has("pos_embd"));
  try {
    file.at("pos_embd");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what())
                  .find("expected a tensor 'pos_embd', found none among 4; the nearest names are 'pos_embed', "),
              std::string::npos)
        << error.what();
  }
}

TEST_F(Safetensors, SpansOutliveMovesAndTheReplacementOfTheFile) {
  std::vector<float> values = {1, 2, 3, 4};
  const TensorView view{"w", DType::kF32, {4}, values.data()};
  write_safetensors(folder_ / "model", {&view, 1});
  TensorFile first(folder_ / "model");
  const std::span<const std::byte> data = first.at("w").data;
  const TensorFile moved = std::move(first);
  values = {5, 6, 7, 8};
  write_safetensors(folder_ / "model", {&view, 1});
  EXPECT_EQ(moved.at("w").data.data(), data.data());
  float old[4];
  std::memcpy(old, data.data(), sizeof(old));
  EXPECT_EQ(old[3], 4);
  EXPECT_EQ(bytes_of(TensorFile(folder_ / "model").at("w")), std::string(reinterpret_cast<char*>(values.data()), 16));
}

TEST_F(Safetensors, TheWriterRefusesWhatTheReaderWould) {
  const float value = 0;
  const auto refuses = [&](std::vector<TensorView> views, const std::map<std::string, std::string>& metadata = {}) {
    EXPECT_THROW(write_safetensors(folder_ / "bad", views, metadata), Error);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "bad"));
  };
  refuses({{"a", DType::kF32, {}, &value}, {"a", DType::kF32, {}, &value}});
  refuses({{"__metadata__", DType::kF32, {}, &value}});
  refuses({{std::string(4097, 'n'), DType::kF32, {}, &value}});
  refuses({{"a", DType::kF32, {-1}, &value}});
  refuses({{"a", DType::kF32, {INT64_MAX, INT64_MAX}, &value}});
  refuses({{"a", DType::kF32, {1}, nullptr}});
  refuses({{"\xFF", DType::kF32, {}, &value}});
  refuses({}, {{"key", "\xFF"}});
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(Safetensors, ATooFullDiskIsToldBeforeWriting) {
  const float value = 0;
  const TensorView huge{"huge", DType::kF32, {std::int64_t{1} << 60}, &value};
  try {
    write_safetensors(folder_ / "huge", {&huge, 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the disk is too full: 46116860184273"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(Safetensors, WhatIsNoFileIsRefused) {
  EXPECT_THROW(TensorFile(folder_ / "absent"), Error);
  EXPECT_THROW(TensorFile{folder_}, Error);
}

TEST(SafetensorsDType, SizesAndNamesAreTheFormats) {
  EXPECT_EQ(dtype_size(DType::kBool), 1u);
  EXPECT_EQ(dtype_size(DType::kBF16), 2u);
  EXPECT_EQ(dtype_size(DType::kF32), 4u);
  EXPECT_EQ(dtype_size(DType::kU64), 8u);
  EXPECT_EQ(dtype_name(DType::kBool), "BOOL");
  EXPECT_EQ(dtype_name(DType::kF64), "F64");
}

}  // namespace
}  // namespace lacuna
