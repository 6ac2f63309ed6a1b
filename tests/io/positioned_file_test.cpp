#include "io/positioned_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <functional>
#include <string>

#include "base/error.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

std::string fault(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    return error.what();
  }
  return "no Error was thrown";
}

TEST(PositionedFile, ReadsAnywhereAndNamesWhatIsMissing) {
  testing::TemporaryFolder folder;
  std::ofstream(folder / "a") << "0123456789";
  const PositionedFile file(folder / "a");
  std::string part(4, '.');
  file.read(3, std::as_writable_bytes(std::span(part.data(), part.size())));
  EXPECT_EQ(part, "3456");
  EXPECT_NE(
      fault([&] { file.read(8, std::as_writable_bytes(std::span(part.data(), part.size()))); }).find("2 bytes early"),
      std::string::npos);
}

TEST(PositionedFile, RefusesWhatIsNoFileWithoutWaiting) {
  testing::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(fault([&] { PositionedFile(folder / "pipe"); }).find("pipe or device"), std::string::npos);
  EXPECT_NE(fault([&] { PositionedFile{folder.path()}; }).find("pipe or device"), std::string::npos);
  EXPECT_NE(fault([&] { PositionedFile(folder / "none"); }).find("No such file"), std::string::npos);
}

// Page 0 of a process is never mapped: the kernel answers with the error of a failing disk.
TEST(PositionedFile, SaysWhatTheDiskSays) {
  const PositionedFile file("/proc/self/mem");
  std::array<std::byte, 16> bytes{};
  EXPECT_NE(fault([&] { file.read(0, bytes); }).find("Input/output error"), std::string::npos);
}

TEST(PositionedFile, StampsFollowReplacementAndWriting) {
  testing::TemporaryFolder folder;
  std::ofstream(folder / "a") << "one";
  const auto first = stamp_of(folder / "a");
  const PositionedFile file(folder / "a");
  EXPECT_EQ(first, file.stamp());
  std::ofstream(folder / "b") << "one";
  EXPECT_NE(stamp_of(folder / "b"), first);
  std::ofstream(folder / "a", std::ios::app) << "more";
  EXPECT_NE(stamp_of(folder / "a"), first);
  EXPECT_NE(file.stamp(), *first);
  EXPECT_FALSE(stamp_of(folder / "none").has_value());
}

}  // namespace
}  // namespace lacuna
