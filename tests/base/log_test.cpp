#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

class RecordLogTest : public ::testing::Test {
 protected:
  std::string content() const {
    std::ostringstream out;
    out << std::ifstream(path_).rdbuf();
    return out.str();
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

TEST_F(RecordLogTest, ARecordIsOneLineAndThereAtOnce) {
  RecordLog log(path_);
  log.append({{"step", 1}, {"text", "two\nlines \xFF"}, {"loss", std::nan("")}});
  EXPECT_EQ(content(), "{\"loss\":null,\"step\":1,\"text\":\"two\\nlines \xEF\xBF\xBD\"}\n");
}

TEST_F(RecordLogTest, ReopeningAppends) {
  for (int i = 0; i < 3; ++i) RecordLog(path_).append({{"step", i}});
  EXPECT_EQ(content(), "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(RecordLogTest, ATornLastLineIsDropped) {
  const std::string complete = "{\"step\":0}\n{\"long\":\"" + std::string(10'000, 'x') + "\"}\n";
  for (const std::string& torn :
       {std::string(), std::string("{\"st"), std::string(9000, 'y'), std::string(4096, '\0')}) {
    std::ofstream(path_) << complete << torn;
    RecordLog(path_).append({{"step", 1}});
    EXPECT_EQ(content(), complete + "{\"step\":1}\n");
  }
  std::ofstream(path_) << "{\"st";
  RecordLog(path_).append({{"step", 2}});
  EXPECT_EQ(content(), "{\"step\":2}\n");
}

TEST_F(RecordLogTest, ResumingDropsWhatIsBeyondTheCheckpoint) {
  std::ofstream(path_)
      << "{\"run\":\"a\"}\n{\"step\":1}\n{\"step\":3}\n{\"note\":1,\"step\":2}\n{\"step\":2.5}\n{\"step\":4}\n{\"st";
  RecordLog log(path_);
  log.truncate_after("step", 2);
  log.append({{"step", 3}, {"again", true}});
  EXPECT_EQ(content(), "{\"run\":\"a\"}\n{\"step\":1}\n{\"note\":1,\"step\":2}\n{\"again\":true,\"step\":3}\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(RecordLogTest, ADamagedLineIsNamed) {
  std::ofstream(path_) << "{\"step\":1}\nnonsense\n{\"step\":2}\n";
  RecordLog log(path_);
  try {
    log.truncate_after("step", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl: line 2: expected a JSON object"), std::string::npos);
  }
  EXPECT_EQ(content(), "{\"step\":1}\nnonsense\n{\"step\":2}\n");
}

TEST_F(RecordLogTest, AnImpossiblePathIsAnError) { EXPECT_THROW(RecordLog(folder_ / "no/such/file"), Error); }

ProgressStyle terminal(int columns, bool color = false) {
  return {.terminal = true, .color = color, .interval = 3600, .columns = [columns] { return columns; }};
}

// What stands on the last line of the terminal after `text`.
std::string last_line(const std::string& text) {
  const std::string line = text.substr(text.rfind('\n') + 1);
  const std::size_t erased = line.rfind("\r\x1b[K");
  return erased == std::string::npos ? line : line.substr(erased + 4);
}

TEST(Progress, ATerminalLineIsRedrawnAndFitsAnyWidth) {
  for (const int columns : {1, 5, 20, 40, 80, 200}) {
    std::ostringstream out;
    Progress progress(out, terminal(columns));
    progress.show("step 10 of 100, a line that is much too long for a narrow window " + std::string(200, 'x'), 0.1);
    progress.show("step 50\nof 100", 0.5);
    EXPECT_EQ(out.str().find('\n'), std::string::npos);
    EXPECT_LT(last_line(out.str()).size(), std::max(columns, 2));
    if (columns == 80) {
      EXPECT_EQ(last_line(out.str()), "#######--------  50.0 %  step 50 of 100");
    }
  }
}

TEST(Progress, ALineIsCutBetweenCharacters) {
  std::ostringstream out;
  Progress progress(out, terminal(20));
  progress.show("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 1);
  EXPECT_EQ(last_line(out.str()), "### 100.0 %  \xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9");
}

TEST(Progress, ANoteStandsAloneAboveTheBar) {
  std::ostringstream out;
  Progress progress(out, terminal(80));
  progress.note("first");
  progress.show("working", 0.2);
  progress.note("saved");
  EXPECT_EQ(out.str().rfind("first\n\r\x1b[K", 0), 0u);
  EXPECT_NE(out.str().find("\r\x1b[Ksaved\n"), std::string::npos);
  EXPECT_NE(last_line(out.str()).find("working"), std::string::npos);
  progress.finish();
  progress.finish();
  EXPECT_EQ(out.str().back(), '\n');
  EXPECT_NE(out.str()[out.str().size() - 2], '\n');
}

TEST(Progress, ElsewhereLinesArePlain) {
  std::ostringstream out;
  {
    Progress progress(out, ProgressStyle{});
    progress.show("step 1", 0.0123);
    progress.note("saved");
    progress.show("step 2", std::nan(""));
  }
  EXPECT_EQ(out.str(), "  1.2 %  step 1\nsaved\n  0.0 %  step 2\n");
}

TEST(Progress, ColourAppearsOnlyWhenAsked) {
  std::ostringstream plain, colored;
  Progress(plain, terminal(80)).show("x", 0.5);
  Progress(colored, terminal(80, true)).show("x", 0.5);
  EXPECT_EQ(plain.str().find("\x1b[3"), std::string::npos);
  EXPECT_NE(colored.str().find("\x1b[36m#"), std::string::npos);
}

TEST(Progress, IsDueAtFirstAndThenByTime) {
  std::ostringstream out;
  ProgressStyle style;
  style.interval = 0.05;
  Progress progress(out, style);
  EXPECT_TRUE(progress.due());
  style.interval = 3600;
  Progress slow(out, style);
  slow.show("x", 0);
  EXPECT_FALSE(slow.due());
  progress.show("x", 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_TRUE(progress.due());
}

TEST(Progress, AFileIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const ProgressStyle style = progress_style(ends[1]);
  EXPECT_FALSE(style.terminal);
  EXPECT_FALSE(style.color);
  EXPECT_EQ(style.interval, 10);
  EXPECT_EQ(style.columns(), 80);
  ::close(ends[0]);
  ::close(ends[1]);
}

class Pseudoterminal : public ::testing::Test {
 protected:
  void SetUp() override {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY);
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) GTEST_SKIP() << "no pseudoterminal here";
    slave_ = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    if (slave_ < 0) GTEST_SKIP() << "no pseudoterminal here";
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("NO_COLOR");
  }
  void TearDown() override {
    ::unsetenv("NO_COLOR");
    ::close(slave_);
    ::close(master_);
  }
  int master_ = -1, slave_ = -1;
};

TEST_F(Pseudoterminal, ItsStyleFollowsWidthTermAndNoColor) {
  const winsize size{.ws_row = 24, .ws_col = 123, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(::ioctl(slave_, TIOCSWINSZ, &size), 0);
  const ProgressStyle style = progress_style(slave_);
  EXPECT_TRUE(style.terminal && style.color);
  EXPECT_EQ(style.interval, 0.2);
  EXPECT_EQ(style.columns(), 123);
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_TRUE(progress_style(slave_).terminal);
  EXPECT_FALSE(progress_style(slave_).color);
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(progress_style(slave_).terminal);
}

TEST(Human, BytesHaveThreeDigits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes((1 << 20) - 1), "1.00 MiB");
  EXPECT_EQ(human_bytes(std::uint64_t{1400} << 20), "1.37 GiB");
  EXPECT_EQ(human_bytes(UINT64_MAX), "16.0 EiB");
}

TEST(Human, CountsHaveThreeDigits) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(42), "42");
  EXPECT_EQ(human_count(0.5), "0.50");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000), "1.00 k");
  EXPECT_EQ(human_count(999'999), "1.00 M");
  EXPECT_EQ(human_count(5'670'000), "5.67 M");
  EXPECT_EQ(human_count(86'567'656), "86.6 M");
  EXPECT_EQ(human_count(1.8e12), "1.80 T");
  EXPECT_EQ(human_count(-1500), "-1.50 k");
  EXPECT_EQ(human_count(std::nan("")), "unknown");
}

TEST(Human, DurationsHaveTwoUnits) {
  EXPECT_EQ(human_duration(0), "0.00 s");
  EXPECT_EQ(human_duration(0.42), "0.42 s");
  EXPECT_EQ(human_duration(12.34), "12.3 s");
  EXPECT_EQ(human_duration(59.96), "1 min 0 s");
  EXPECT_EQ(human_duration(312), "5 min 12 s");
  EXPECT_EQ(human_duration(3599.6), "1 h 0 min");
  EXPECT_EQ(human_duration(4320), "1 h 12 min");
  EXPECT_EQ(human_duration(86'399), "1 d 0 h");
  EXPECT_EQ(human_duration(76 * 3600), "3 d 4 h");
  EXPECT_EQ(human_duration(-1), "unknown");
  EXPECT_EQ(human_duration(std::numeric_limits<double>::infinity()), "unknown");
}

}  // namespace
}  // namespace lacuna
