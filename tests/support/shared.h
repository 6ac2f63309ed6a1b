#pragma once
// Where the tests find reference tensors and real images. The folder is no part of the repository: LACUNA_SHARED names
// it, or it lies beside the checkout. Tests that need it skip with a reason where it is absent.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace lacuna::testing {

inline std::filesystem::path shared_folder() {
  if (const char* named = std::getenv("LACUNA_SHARED")) return named;
  return std::filesystem::path(LACUNA_SOURCE_DIR) / ".." / "shared";
}

}  // namespace lacuna::testing

// First line of a test that reads `relative` below the shared folder.
#define LACUNA_NEEDS_SHARED(relative)                                                     \
  if (!std::filesystem::exists(lacuna::testing::shared_folder() / (relative)))            \
  GTEST_SKIP() << "needs " << (relative) << " below " << lacuna::testing::shared_folder() \
               << " (set LACUNA_SHARED to the folder that holds it)"
