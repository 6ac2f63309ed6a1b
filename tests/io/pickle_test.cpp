#include "io/tensor/pickle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "io/tensor/torch_tree.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

using namespace std::string_literals;
using testing::little;
using testing::PickleMaker;
using Kind = PickleValue::Kind;

std::span<const std::byte> span_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

// The sentence with which the pickle is refused, or "".
std::string refusal(const std::string& bytes) {
  try {
    const Pickle pickle(span_of(bytes), "FILE");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    const std::string sentence = error.what();
    EXPECT_EQ(sentence.rfind("FILE: ", 0), 0u) << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    return sentence;
  }
}

// The one value of a pickle as plain text.
std::string plain(const std::string& operations) {
  const std::string bytes = "\x80\x02" + operations + ".";
  const Pickle pickle(span_of(bytes), "FILE");
  return plain_text(pickle.root()).value_or("not plain");
}

// Each line was checked against pickle.loads of Python 3.11.
TEST(Pickle, PlainValuesOfAllProtocolsAreRead) {
  EXPECT_EQ(plain("N"), "null");
  EXPECT_EQ(plain("\x88"), "true");
  EXPECT_EQ(plain("I00\n"), "false");
  EXPECT_EQ(plain("I01\n"), "true");
  EXPECT_EQ(plain("I-12\n"), "-12");
  EXPECT_EQ(plain("L123L\n"), "123");
  EXPECT_EQ(plain("L99999999999999999999L\n"), "an integer beyond 64 bits");
  EXPECT_EQ(plain("F-0.5\n"), "-0.5");
  EXPECT_EQ(plain("J\xff\xff\xff\xff"), "-1");
  EXPECT_EQ(plain("K\xff"), "255");
  EXPECT_EQ(plain("M\xff\xff"), "65535");
  EXPECT_EQ(plain("\x8a\x00"s), "0");
  EXPECT_EQ(plain("\x8a\x01\x80"), "-128");
  EXPECT_EQ(plain("\x8a\x02\xff\x00"s), "255");
  EXPECT_EQ(plain("\x8b\x08\0\0\0\0\0\0\0\0\0\0\x80"s), "-9223372036854775808");
  EXPECT_EQ(plain("\x8a\x09" + std::string(9, '\1')), "an integer beyond 64 bits");
  EXPECT_EQ(plain("G\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1");
  EXPECT_EQ(plain("U\x02hi"), "hi");
  EXPECT_EQ(plain("T\x02\0\0\0hi"s), "hi");
  EXPECT_EQ(plain("X\x02\0\0\0\xc3\xbc"s), "\xc3\xbc");
  EXPECT_EQ(plain("\x8c\x02hi"), "hi");
  EXPECT_EQ(plain("\x8d\x02\0\0\0\0\0\0\0hi"s), "hi");
  EXPECT_EQ(plain("]"), "[]");
  EXPECT_EQ(plain("](K\1K\2e"), "[1, 2]");
  EXPECT_EQ(plain("]K\1a"), "[1]");
  EXPECT_EQ(plain("(K\1K\2l"), "[1, 2]");
  EXPECT_EQ(plain("(K\1K\2t"), "(1, 2)");
  EXPECT_EQ(plain("K\1K\2K\3\x87"), "(1, 2, 3)");
  EXPECT_EQ(plain("K\1K\2\x86"), "(1, 2)");
  EXPECT_EQ(plain("K\1\x85"), "(1)");
  EXPECT_EQ(plain("\x8f(K\1\x90"), "{1}");
  EXPECT_EQ(plain("(K\1\x91"), "{1}");
  EXPECT_EQ(plain("c__builtin__\nset\n](K\1K\2e\x85R"), "{1, 2}");
  EXPECT_EQ(plain("ctorch\nSize\nK\1K\2\x86\x85R"), "[1, 2]");
  EXPECT_EQ(plain("ctorch\ndevice\nX\4\0\0\0cudaK\1\x86R"s), "cuda:1");
  EXPECT_EQ(plain("cpathlib\nPosixPath\nX\1\0\0\0/X\1\0\0\0a\x86R"s), "/a");
  EXPECT_EQ(plain("\x8c\x05torch\x8c\x07"
                  "float32\x93"),
            "torch.float32");
  EXPECT_EQ(plain("\x95\0\0\0\0\0\0\0\0K\1"s), "1");
  EXPECT_EQ(plain("]2a"), "not plain") << "a list that holds itself";
}

TEST(Pickle, TheMemoSharesValuesAndAMarkCanBePopped) {
  EXPECT_EQ(plain("](K\7q\5h\5r\1\0\0\0g5\nj\1\0\0\0p9\ne"s), "[7, 7, 7, 7]");
  EXPECT_EQ(plain("](K\7\x94h\0e"s), "[7, 7]");
  EXPECT_EQ(plain("K\1(K\2K\3"
                  "1"),
            "1");
  EXPECT_EQ(plain("K\1(0"), "1");
  EXPECT_EQ(plain("](K\1"
                  "2e"),
            "[1, 1]");
}

// As numpy 2.3 writes float64(0.25), int32(-3) and bool(True) under protocol 2, and float64 under protocol 5.
TEST(Pickle, ScalarsOfNumpyAreNumbers) {
  const auto scalar = [](const char* module, const char* type, const std::string& bytes) {
    PickleMaker maker;
    maker.global(module, "scalar").global("numpy", "dtype").text(type).op("\x89\x88\x87R");
    maker.op("(K\3").text("<").op("NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"s);
    return maker.bytes() + bytes + "\x86R";
  };
  const auto encoded = [](std::string_view utf8) {
    return PickleMaker().global("_codecs", "encode").text(utf8).text("latin1").op("\x86R").bytes();
  };
  EXPECT_EQ(plain(scalar("numpy._core.multiarray", "f8", encoded("\0\0\0\0\0\0\xc3\x90?"s))), "0.25");
  EXPECT_EQ(plain(scalar("numpy.core.multiarray", "i4", encoded("\xc3\xbd\xc3\xbf\xc3\xbf\xc3\xbf"))), "-3");
  EXPECT_EQ(plain(scalar("numpy.core.multiarray", "b1", encoded("\1"))), "true");
  EXPECT_EQ(plain(scalar("numpy._core.multiarray", "f8", "C\x08\0\0\0\0\0\0\xd0?"s)), "0.25");
  EXPECT_EQ(plain(scalar("numpy._core.multiarray", "f8", "C\x02\0\0"s)), "not plain") << "too few bytes";
  EXPECT_EQ(plain(scalar("numpy._core.multiarray", "V8", "C\x02\0\0"s)), "not plain");
}

struct Broken {
  std::string bytes, sentence;
};

TEST(Pickle, EveryBrokenRuleIsNamed) {
  const std::string begin = "\x80\x02";
  const auto global = [](const char* module, const char* name) { return PickleMaker().global(module, name).bytes(); };
  const Broken broken[] = {
      {"", "expected another operation, found the end"},
      {begin, "expected another operation, found the end"},
      {begin + ".", "expected one value at the end, found 0"},
      {begin + "NN.", "expected one value at the end, found 2"},
      {begin + "N(.", "expected one value at the end"},
      {begin + "N.N", "expected its end, found 1 more bytes"},
      {"\x80\x06N.", "expected a protocol up to 5, found 6"},
      {begin + "0.", "it takes a value where there is none"},
      {begin + "N(a.", "it takes a value where there is none"},
      {begin + "t.", "it goes back to a mark where there is none"},
      {begin + "h\1.", "nothing was put at place 1 of the memo"},
      {begin + "Nr\xff\xff\xff\xff.", "expected a place in the memo below 8000000, found 4294967295"},
      {begin + "Npx\n.", "expected a place in the memo, found 'x'"},
      {begin + "X\xff\xff\xff\x7f.", "expected 2147483647 more bytes, found 1"},
      {begin + "\x8d" + std::string(8, '\xff'), "expected 18446744073709551615 more bytes, found 0"},
      {begin + "X\1\0\0\0\xff."s, "expected text in UTF-8, found '\\xff'"},
      {begin + "X\3\0\0\0\xed\xa0\x80."s, "expected text in UTF-8"},
      {begin + "X\2\0\0\0\xc0\x80."s, "expected text in UTF-8"},
      {begin + "Ix\n.", "expected a number, found 'x'"},
      {begin + "F1.5x\n.", "expected a number, found '1.5x'"},
      {begin + "I99999999999999999999\n.", "expected a number"},
      {begin + "I" + std::string(2000, '1') + "\n.", "expected the end of a line within 1024 bytes"},
      {begin + "NNa.", "it adds items of a list to None"},
      {begin + "})a.", "it adds items of a list to a dictionary"},
      {begin + "](N\x90.", "it adds items of a set to a list"},
      {begin + "]NNs.", "it sets items of a list as if it were a dictionary"},
      {begin + ")(NNu.", "it sets items of a tuple as if it were a dictionary"},
      {begin + PickleMaker().tensor(1, 0, {1}, {1}).bytes() + "(NNu.", "it sets items of an object as if"},
      {begin + PickleMaker().tensor(1, 0, {1}, {1}).bytes() + "}b.",
       "it sets the state of an object torch._utils._rebuild_tensor_v2, which takes none"},
      {begin + "}(Nu.", "it gives a dictionary a key without a value"},
      {begin + "]}b.", "it sets the state of a list, which takes none"},
      {begin + global("argparse", "Namespace") + ")\x81}b}b.", "which takes none"},
      {begin + "N)R.", "expected a class to make an object of, found None"},
      {begin + global("a", "b") + "NR.", "expected the arguments of a.b in a tuple, found None"},
      {begin + global("a", "b") + ")N\x92.", "expected the named arguments of an object in a dictionary"},
      {begin + global("collections", "OrderedDict") + "N\x85R.", "expected a dictionary of pairs, found None"},
      {begin + global("collections", "OrderedDict") + "]Na\x85R.", "found None among them"},
      {begin + global("builtins", "set") + "N\x85R.", "expected a list or tuple for builtins.set, found None"},
      {begin + "NN\x93.", "expected module and name of a class as texts"},
      {begin + "ca\xff\nb\n.", "expected the name of a class in UTF-8"},
      {begin + "Pid\n.", "the operation PERSID is not understood"},
      {begin + "S'a'\n.", "the operation STRING is not understood"},
      {begin + "Va\n.", "the operation UNICODE is not understood"},
      {begin + "(ia\nb\n.", "the operation INST is not understood"},
      {begin + "(o.", "the operation OBJ is not understood"},
      {begin + "\x82\1.", "the operation EXT1 is not understood"},
      {begin + "\x83\1\1.", "the operation EXT2 is not understood"},
      {begin + "\x84\1\1\1\1.", "the operation EXT4 is not understood"},
      {begin + "\x97.", "the operation NEXT_BUFFER is not understood"},
      {begin + "\x98.", "the operation READONLY_BUFFER is not understood"},
      {begin + "\xfe.", "expected an operation, found 254"},
  };
  for (const Broken& each : broken) {
    const std::string sentence = refusal(each.bytes);
    EXPECT_NE(sentence.find(each.sentence), std::string::npos)
        << "expected: " << each.sentence << "\nfound:    " << sentence;
  }
}

TEST(Pickle, NamesThatRunCodeRefuseTheFileWhereverTheyStand) {
  const std::pair<const char*, const char*> names[] = {{"posix", "system"},
                                                       {"os", "system"},
                                                       {"nt", "system"},
                                                       {"os.path", "join"},
                                                       {"subprocess", "Popen"},
                                                       {"builtins", "eval"},
                                                       {"__builtin__", "exec"},
                                                       {"builtins", "__import__"},
                                                       {"builtins", "getattr"},
                                                       {"builtins", "open"},
                                                       {"builtins", "print.__self__.eval"},
                                                       {"runpy", "_run_code"},
                                                       {"importlib", "import_module"},
                                                       {"importlib.util", "find_spec"},
                                                       {"shutil", "rmtree"},
                                                       {"socket", "socket"},
                                                       {"sys", "modules"},
                                                       {"pty", "spawn"},
                                                       {"webbrowser", "open"},
                                                       {"types", "FunctionType"},
                                                       {"marshal", "loads"},
                                                       {"pickle", "loads"},
                                                       {"operator", "attrgetter"},
                                                       {"torch", "load"},
                                                       {"torch", "os.system"},
                                                       {"torch.hub", "load"},
                                                       {"torch.storage", "_load_from_bytes"},
                                                       {"numpy", "load"},
                                                       {"collections", "OrderedDict.__reduce__"}};
  for (const auto& [module, name] : names) {
    const std::string full = std::string(module) + "." + name;
    const std::string by_line = PickleMaker().global(module, name).op("0N").done();
    const std::string by_stack = PickleMaker()
                                     .text(module)
                                     .text(name)
                                     .op("\x93"
                                         "0N")
                                     .done();
    for (const std::string& bytes : {by_line, by_stack}) {
      EXPECT_NE(refusal(bytes).find("refused: Python would run " + full), std::string::npos)
          << full << ": " << refusal(bytes);
    }
  }
  for (const auto& [module, name] : {std::pair{"types", "SimpleNamespace"},
                                     {"builtins", "complex"},
                                     {"mmengine.config.config", "ConfigDict"},
                                     {"functools", "partial"},
                                     {"torch.nn.modules.activation", "GELU"},
                                     {"my.types", "Thing"}}) {
    EXPECT_EQ(refusal(PickleMaker().global(module, name).done()), "") << module << "." << name;
  }
}

// What would take the memory of the machine if it were built, or time without end if it were walked.
TEST(Pickle, BombsAreRefusedBeforeTheyGrow) {
  std::string values = "\x80\x02(", operations = values, sets = "\x80\x02](";
  for (int i = 0; i < 2'000'100; ++i) values += ']';
  EXPECT_NE(refusal(values + "t.").find("it holds more than 2000000 values"), std::string::npos);
  for (int i = 0; i < 8'000'100; ++i) operations += "(1"[i % 2];
  EXPECT_NE(refusal(operations + "t.").find("it has more than 8000000 operations"), std::string::npos);
  // A list of 100,000 items is copied into a set, again and again.
  sets += "Nq\1";
  for (int i = 0; i < 100'000; ++i) sets += "h\1";
  sets +=
      "e\x85q\2"
      "0(";
  for (int i = 0; i < 1000; ++i) sets += "cbuiltins\nset\nh\2R";
  EXPECT_NE(refusal(sets + "t.").find("its lists and dictionaries have more than 16000000 items"), std::string::npos);
}

}  // namespace
}  // namespace lacuna
