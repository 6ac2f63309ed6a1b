#pragma once
// What a reader of untrusted bytes says when it refuses them.

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"

namespace lacuna::testing {

// The message of the Error(kBadData) that `read` throws; empty where it throws none.
inline std::string refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    return error.what();
  }
  return {};
}

}  // namespace lacuna::testing
