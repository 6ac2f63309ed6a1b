#pragma once
// The operations of pickles that are understood, with the codes of Python's pickletools.py. Internal to
// io/tensor/pickle.

#include <array>
#include <cstdint>

namespace lacuna {

enum class PickleOp : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kFloatLine = 'F',
  kIntLine = 'I',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kLongLine = 'L',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistentId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kGet = 'g',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kPut = 'p',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinFloat = 'G',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

struct RefusedPickleOp {
  std::uint8_t code;
  const char* name;
};

// What no file of weights needs. EXT looks a class up by number, INST and OBJ make objects of Python 2.
inline constexpr std::array<RefusedPickleOp, 10> kRefusedPickleOps = {{{'P', "PERSID"},
                                                                       {'S', "STRING"},
                                                                       {'V', "UNICODE"},
                                                                       {'i', "INST"},
                                                                       {'o', "OBJ"},
                                                                       {0x82, "EXT1"},
                                                                       {0x83, "EXT2"},
                                                                       {0x84, "EXT4"},
                                                                       {0x97, "NEXT_BUFFER"},
                                                                       {0x98, "READONLY_BUFFER"}}};

}  // namespace lacuna
