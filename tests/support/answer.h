#pragma once
// What the program prints, and what a test expects to read in it.

#include <gtest/gtest.h>

#include <string>

#include "support/process.h"

namespace lacuna::testing {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define EXPECT_SAYS(message, part) EXPECT_PRED2(lacuna::testing::contains, message, part)

// Standard output of a run that ends well, standard error of one that must end with another code.
inline std::string answer(const Words& arguments, int code = 0) {
  const Ended ended = lacuna_run(arguments);
  EXPECT_EQ(ended.code, code) << ended.out << ended.err;
  return code == 0 ? ended.out : ended.err;
}

}  // namespace lacuna::testing
