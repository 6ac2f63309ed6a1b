#include "io/tensor/torch_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "support/temporary_folder.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::little;
using testing::PickleMaker;
using testing::torch_of;
using testing::zip_of;
using testing::ZipPart;

std::span<const std::byte> span_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

TensorTable read(const std::string& bytes) { return read_torch_file(span_of(bytes), "FILE"); }

// The sentence with which the file is refused, or "".
std::string refusal(const std::string& bytes) {
  try {
    (void)read(bytes);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    const std::string sentence = error.what();
    EXPECT_EQ(sentence.rfind("FILE: ", 0), 0u) << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    EXPECT_LT(sentence.size(), 1000u);
    return sentence;
  }
}

template <class T>
std::vector<T> values(const TensorInfo& tensor) {
  std::vector<T> out(tensor.data.size() / sizeof(T));
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

std::string floats(std::size_t count) {  // 0, 1, 2 …
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += little(static_cast<float>(i));
  return out;
}

std::string reason_of(const TensorTable& table, const std::string& name) {
  for (const LeftOut& each : table.left_out) {
    if (each.name == name) return each.reason;
  }
  return "";
}

TEST(TorchFile, FormatsThatAreNotReadAreNamed) {
  const testing::TemporaryFolder folder;
  const std::pair<std::string, const char*> contents[] = {
      {"version https://git-lfs.github.com/spec/v1\n", "a pointer that git-lfs left"},
      {"<!DOCTYPE html><html>", "a web page"},
      {"\x1f\x8b\x08 and more", "compressed with gzip"},
      {"\x80\x02}q\x01.   ", "a bare Python pickle"},
      {"\x80\x04\x95 more ", "a bare Python pickle"},
      {std::string(257, '\0') + "ustar  \0", "a tar archive"},
      {"PK\3\4" + std::string(30, '\0'), "a broken ZIP archive"},
      {zip_of({{.name = "a/b", .data = ""}}), "without FOLDER/data.pkl"}};
  for (const auto& [content, words] : contents) {
    std::ofstream(folder / "file.pth", std::ios::binary) << content;
    try {
      const TensorFile file(folder / "file.pth");
      ADD_FAILURE() << words << " was opened";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
}

// ---- Meaning --------------------------------------------------------------------------------------------------------

TEST(TorchFile, NamesAreJoinedAndNumbersBecomeMetadata) {
  PickleMaker maker;
  maker.op("}(").text("model").op("}(").text("w").tensor(6, 0, {2, 3}, {3, 1}).text("n").integer(7).op("u");
  maker.text("list").op("](").tensor(6, 4, {2}, {1}).tensor(6, 5, {}, {}).op("e");
  maker.text("args").global("argparse", "Namespace").op(")\x81}(").text("lr").op("G\x3f\xb9\x99\x99\x99\x99\x99\x9a");
  maker.text("size")
      .op("K\x08K\x08\x86u"
          "b")
      .integer(3)
      .text("three")
      .op("u");
  const std::string bytes = torch_of(maker.done(), {{"0", floats(6)}});
  const TensorTable table = read(bytes);
  EXPECT_EQ(table.format, "torch zip");
  EXPECT_EQ(table.names, (std::vector<std::string>{"model.w", "list.0", "list.1"}));
  EXPECT_EQ(values<float>(table.tensors.at("model.w")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values<float>(table.tensors.at("list.0")), (std::vector<float>{4, 5}));
  EXPECT_EQ(values<float>(table.tensors.at("list.1")), (std::vector<float>{5}));
  EXPECT_TRUE(table.tensors.at("list.1").shape.empty());
  EXPECT_EQ(table.metadata, (std::map<std::string, std::string>{
                                {"3", "three"}, {"args.lr", "0.1"}, {"args.size", "(8, 8)"}, {"model.n", "7"}}));
  EXPECT_EQ(table.dictionaries, (std::vector<std::string>{"", "model", "args"}));
  EXPECT_TRUE(table.copies.empty()) << "nothing was copied";
}

TEST(TorchFile, ScatteredTensorsAreReadInRowMajorOrder) {
  PickleMaker maker;
  maker.op("}(").text("transposed").tensor(6, 0, {3, 2}, {1, 3}).text("column").tensor(6, 1, {2}, {3});
  maker.text("expanded").tensor(6, 2, {2, 2}, {0, 0}).text("empty").tensor(6, 6, {0, 5}, {9, 9});
  maker.text("odd").tensor(6, 1, {1, 2, 1, 2}, {std::int64_t{1} << 62, 3, std::int64_t{1} << 61, 1}).op("u");
  const std::string bytes = torch_of(maker.done(), {{"0", floats(6)}});
  const TensorTable table = read(bytes);
  EXPECT_EQ(values<float>(table.tensors.at("transposed")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values<float>(table.tensors.at("column")), (std::vector<float>{1, 4}));
  EXPECT_EQ(values<float>(table.tensors.at("expanded")), (std::vector<float>{2, 2, 2, 2}));
  EXPECT_EQ(values<float>(table.tensors.at("odd")), (std::vector<float>{1, 2, 4, 5}));
  EXPECT_TRUE(table.tensors.at("empty").data.empty());
}

TEST(TorchFile, ModulesAreWalkedAsStateDictDoes) {
  PickleMaker maker;
  const auto member = [&](const char* name) { maker.text(name); };
  maker.global("some.where", "Net").op(")\x81}(");
  member("_parameters");
  maker.op("}(").text("w").global("torch._utils", "_rebuild_parameter").op("(").tensor(2, 0, {2}, {1}).op("\x88)tR");
  maker.text("b").op("Nu");
  member("_buffers");
  maker.op("}(").text("kept").tensor(2, 0, {1}, {1}).text("passing").tensor(2, 1, {1}, {1}).op("u");
  member("_non_persistent_buffers_set");
  maker.global("__builtin__", "set").op("](").text("passing").op("e\x85R");
  member("_modules");
  maker.op("}(").text("sub").global("torch.nn", "Linear").op(")\x81}(");
  maker.text("_parameters").op("}").text("_modules").op("}").text("_buffers").op("}(").text("x");
  maker.tensor(2, 1, {1}, {1}).op("uubu").text("width").integer(3).op("ub");
  const TensorTable table = read(torch_of(maker.done(), {{"0", floats(2)}}));
  EXPECT_EQ(table.names, (std::vector<std::string>{"w", "kept", "sub.x"}));
  EXPECT_TRUE(table.left_out.empty());
  ASSERT_EQ(table.notes.size(), 1u);
  EXPECT_EQ(
      table.notes[0],
      "the file is a pickled module of the class some.where.Net; its tensors were taken, none of its code was run");
}

TEST(TorchFile, WhatHasNoMeaningIsLeftOutByName) {
  PickleMaker maker;
  maker.op("}(").text("good").tensor(2, 0, {2}, {1});
  maker.text("complex").tensor(2, 0, {2}, {1}, "ComplexFloatStorage");
  maker.text("quantised").global("torch._utils", "_rebuild_qtensor").op(")R");
  maker.text("foreign").global("my.module", "Thing").op(")\x81}(").text("t").tensor(2, 0, {2}, {1}).op("ub");
  maker.text("subclass").global("torch._tensor", "_rebuild_from_type_v2").op("(");
  maker.global("torch._utils", "_rebuild_tensor_v2")
      .global("my.module", "Fancy")
      .op("(")
      .storage("FloatStorage", "0", 2);
  maker.integer(0).op("(t(tt}tR");
  maker.text("negated").global("torch._utils", "_rebuild_tensor_v2").op("(").storage("FloatStorage", "0", 2);
  maker.integer(0).op(")(t\x89)}").text("neg").op("\x88stR");
  maker.text("class").global("my.module", "Other").text("self").op("2u");
  const TensorTable table = read(torch_of(maker.done(), {{"0", floats(2)}}));
  EXPECT_EQ(table.names, (std::vector<std::string>{"good"}));
  EXPECT_EQ(reason_of(table, "complex"), "torch.ComplexFloatStorage is a type of numbers that is not read");
  EXPECT_NE(reason_of(table, "quantised").find("only plain tensors are read"), std::string::npos);
  EXPECT_EQ(reason_of(table, "foreign"), "an object of the class my.module.Thing, which has no meaning here");
  EXPECT_EQ(reason_of(table, "subclass"), "a tensor of the class my.module.Fancy, which is not known");
  EXPECT_NE(reason_of(table, "negated").find("negates"), std::string::npos);
  EXPECT_EQ(reason_of(table, "class"), "the class my.module.Other itself");
}

TEST(TorchFile, TorchScriptTellsQuickGeluByItsConstant) {
  const auto archive_of = [](const ZipPart& code, double constant) {
    PickleMaker root, constants;
    root.global("__torch__.clip", "Model").op(")\x81}(").text("w").tensor(2, 0, {2}, {1}).text("training").op("\x89ub");
    constants.op("(").tensor(1, 0, {}, {}, "DoubleStorage").op("t");
    return zip_of({{.name = "m/data.pkl", .data = root.done()},
                   {.name = "m/data/0", .data = floats(2)},
                   code,
                   {.name = "m/constants.pkl", .data = constants.done()},
                   {.name = "m/constants/0", .data = little(constant)}});
  };
  const auto archive = [&](const std::string& code, double constant) {
    return archive_of({.name = "m/code/__torch__/clip.py", .data = code}, constant);
  };
  const TensorTable plain = read(archive("torch.gelu(x)", 1.5));
  EXPECT_EQ(plain.format, "TorchScript");
  EXPECT_EQ(plain.names, (std::vector<std::string>{"w"}));
  EXPECT_EQ(plain.metadata.at("torchscript.quick_gelu"), "false");
  EXPECT_EQ(read(archive("torch.mul(x, 1.702)", 1.5)).metadata.at("torchscript.quick_gelu"), "true");
  // The same, deflated, as torch.jit.save packs code.
  const std::string packed("\x2b\xc9\x2f\x4a\xce\xd0\xcb\x2d\xcd\xd1\xa8\xd0\x51\x30\xd4\x33\x37\x30\xd2\x04\x00", 21);
  EXPECT_EQ(read(archive_of({.name = "m/code/__torch__/clip.py",
                             .data = packed,
                             .method = 8,
                             .packed = 21,
                             .size = 19,
                             .local_size = 19},
                            1.5))
                .metadata.at("torchscript.quick_gelu"),
            "true");
  EXPECT_EQ(read(archive("torch.mul(x, CONSTANTS.c0)", 1.702)).metadata.at("torchscript.quick_gelu"), "true");
}

// ---- Hostile files --------------------------------------------------------------------------------------------------

std::string one_tensor(const PickleMaker& tensor, std::size_t held = 4) {
  return torch_of(PickleMaker().op("}").text("w").op(tensor.bytes()).op("s").done(), {{"0", floats(held)}});
}

TEST(TorchFile, EveryLieAboutATensorIsNamed) {
  const std::int64_t huge = std::int64_t{1} << 62;
  const auto tensor = [](std::int64_t held, std::int64_t offset, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& strides) {
    return one_tensor(PickleMaker().tensor(held, offset, shape, strides));
  };
  const auto made = [](const char* name, const std::string& arguments) {
    return one_tensor(PickleMaker().global("torch._utils", name).op("(").op(arguments).op("tR"));
  };
  const std::string storage = PickleMaker().storage("FloatStorage", "0", 4).bytes();
  const std::string beyond = "'w': its sizes and strides reach beyond its storage of 4 numbers";
  EXPECT_EQ(refusal(tensor(4, 0, {4}, {1})), "");
  const std::pair<std::string, std::string> lies[] = {
      {tensor(5, 0, {4}, {1}), "'w': expected a storage of 5 x 4 bytes in 'archive/data/0', found 16"},
      {tensor(3, 0, {3}, {1}), "'w': expected a storage of 3 x 4 bytes"},
      {tensor(huge, 0, {4}, {1}), "'w': expected a storage of"},
      {tensor(-1, 0, {4}, {1}), "'w': expected the key and the length of a storage"},
      {tensor(4, 0, {5}, {1}), beyond},
      {tensor(4, 1, {4}, {1}), beyond},
      {tensor(4, huge, {1}, {1}), beyond},
      {tensor(4, 5, {0}, {1}), beyond},
      {tensor(4, 0, {2, 2}, {3, 1}), beyond},
      {tensor(4, 0, {2}, {huge}), beyond},
      {tensor(4, 0, {2}, {std::numeric_limits<std::int64_t>::max()}), beyond},
      {tensor(4, 0, {3, 3}, {huge, huge}), beyond},
      {tensor(4, 0, {huge, huge}, {0, 0}), beyond},
      {tensor(4, 0, {std::int64_t{1} << 40}, {0}), "copies of such tensors would be larger than"},
      {tensor(4, -1, {1}, {1}), "'w': expected an offset into its storage that is not negative"},
      {tensor(4, 0, {-4}, {1}), "'w': expected sizes and strides of up to 64 dimensions that are not negative"},
      {tensor(4, 0, {4}, {-1}), "that are not negative"},
      {tensor(4, 0, {4}, {1, 1}), "that are not negative"},
      {tensor(4, 0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)), "up to 64 dimensions"},
      {one_tensor(PickleMaker().tensor(4, 0, {4}, {1}, "FloatStorage", "9")),
       "'w': its storage 'archive/data/9' is not in the archive"},
      {one_tensor(PickleMaker().tensor(4, 0, {4}, {1}, "FloatStorage", "../version")), "is not in the archive"},
      {made("_rebuild_tensor_v2", ""), "'w': expected 4 arguments, found 0"},
      {made("_rebuild_tensor_v3", storage + "K\1K\1K\1"), "'w': expected 7 arguments, found 4"},
      {made("_rebuild_parameter", ""), "'w': expected 1 arguments, found 0"},
      {made("_rebuild_tensor_v2", "NNNN"), "'w': expected a storage of torch, found something else"},
      {made("_rebuild_tensor_v2", "NQNNN"), "'w': expected a storage of torch, found something else"},
      {made("_rebuild_tensor_v2", storage + "NNN"), "'w': expected sizes and strides"},
      {made("_rebuild_tensor_v2", storage + "N))"), "'w': expected an offset"}};
  for (const auto& [bytes, sentence] : lies) {
    EXPECT_NE(refusal(bytes).find(sentence), std::string::npos)
        << "expected: " << sentence << "\nfound:    " << refusal(bytes);
  }
}

TEST(TorchFile, EveryOddArchiveIsNamed) {
  const std::string pickle = PickleMaker().op("}").done();
  const std::pair<std::vector<ZipPart>, std::string> archives[] = {
      {{{.name = "a/data.pkl", .data = pickle}, {.name = "b/data.pkl", .data = pickle}}, "expected one data.pkl"},
      {{{.name = "a/data.pkl", .data = pickle}, {.name = "a/byteorder", .data = "big"}},
       "little-endian order, found 'big'"},
      {{{.name = "a/data.pkl", .data = pickle, .crc = 5}}, "'a/data.pkl': its bytes do not have the checksum"},
      {{{.name = "a/b/data.pkl", .data = pickle}}, "without FOLDER/data.pkl"},
      {{{.name = "data.pkl", .data = pickle}}, "without FOLDER/data.pkl"},
      {{{.name = "a/data.pkl", .data = pickle, .method = 8}}, "'a/data.pkl' is compressed (method 8)"},
      {{{.name = "a/data.pkl", .data = ""}}, "data.pkl: not a pickle that can be read"}};
  for (const auto& [parts, sentence] : archives) {
    EXPECT_NE(refusal(zip_of(parts)).find(sentence), std::string::npos)
        << "expected: " << sentence << "\nfound:    " << refusal(zip_of(parts));
  }
}

TEST(TorchFile, APickleThatCallsTheSystemIsRefused) {
  const std::string bytes =
      torch_of(PickleMaker().global("posix", "system").op("(").text("echo owned").op("tR").done(), {});
  EXPECT_NE(refusal(bytes).find("refused: Python would run posix.system"), std::string::npos);
}

TEST(TorchFile, ValuesThatUnfoldWithoutEndAreRefused) {
  const auto archive = [](const std::string& operations) { return torch_of(PickleMaker().op(operations).done(), {}); };
  // A list of ten of a list of ten of …, which ends in something that is no plain text.
  std::string laughs = "cmy\nClass\nq\1";
  for (int level = 0; level < 9; ++level) {
    laughs += "0](";
    for (int i = 0; i < 10; ++i) laughs += "h\1";
    laughs += "eq\1";
  }
  EXPECT_NE(refusal(archive(laughs)).find("unfold to more than 4000000"), std::string::npos)
      << refusal(archive(laughs));
  std::string deep = "cmy\nClass\n";
  for (int level = 0; level < 200; ++level) deep += "\x85";
  EXPECT_NE(refusal(archive(deep)).find("is nested more than 100 deep"), std::string::npos) << refusal(archive(deep));
  const std::string long_key = PickleMaker().op("}").text(std::string(5000, 'k')).op("Ns").bytes();
  EXPECT_NE(refusal(archive(long_key)).find("names of at most 4096 bytes"), std::string::npos);
  const std::string cycle = PickleMaker().op("}q\1").text("me").op("h\1s").bytes();
  EXPECT_EQ(reason_of(read(archive(cycle)), "me"), "it holds itself");
  PickleMaker twice;
  twice.op("}(").text("a.b").tensor(4, 0, {4}, {1}).text("a").op("}").text("b").tensor(4, 0, {4}, {1}).op("su");
  EXPECT_NE(refusal(torch_of(twice.done(), {{"0", floats(4)}})).find("expected each name once, found 'a.b' twice"),
            std::string::npos);
}

}  // namespace
}  // namespace lacuna
