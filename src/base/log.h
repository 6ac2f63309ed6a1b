#pragma once
// What a run says: records for programs (JSON lines), progress for people, and numbers as people read them.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>

namespace lacuna {

// A file of JSON objects, one per line, only ever appended to. Each record reaches the file in one write before
// `append` returns, so a killed process loses none (a machine without power may). Non-finite numbers become null: JSON
// has none.
class RecordLog {
 public:
  // Creates the file if it is absent. A last line without its end, left by a process that died, is dropped.
  explicit RecordLog(std::filesystem::path path);
  ~RecordLog();
  RecordLog(const RecordLog&) = delete;
  RecordLog& operator=(const RecordLog&) = delete;

  // For a run that resumes at `step`: drops the records whose `step_key` is beyond it, since they will come again.
  // Records without the key stay. Replaces the file atomically. Error if a line is no JSON object.
  void truncate_after(const std::string& step_key, std::int64_t step);

  void append(const nlohmann::json& record);
  const std::filesystem::path& path() const { return path_; }

 private:
  void open();

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// How progress is shown.
struct ProgressStyle {
  bool terminal = false;  // one line that is redrawn, or a new line each time
  bool color = false;
  double interval = 10;                              // seconds between two `due`
  std::function<int()> columns = [] { return 80; };  // asked at each redraw, since windows change
};

// The style for a file descriptor: a redrawn line every 0.2 s on a terminal that can (TERM is not "dumb"), plain lines
// every 10 s elsewhere. Colour only on a terminal, and not if NO_COLOR is set to anything (https://no-color.org).
ProgressStyle progress_style(int descriptor);

// The progress of one loop. Used from one thread, the only writer to its stream meanwhile.
class Progress {
 public:
  Progress(std::ostream& out, ProgressStyle style);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool due() const;                                     // true at first, then once the interval has passed
  void show(const std::string& line, double fraction);  // draws now, whether due or not; fraction of the work done
  void note(const std::string& line);                   // a full line that stays, above the bar
  void finish();                                        // leaves the last bar standing and ends its line

 private:
  void draw();

  std::ostream& out_;
  ProgressStyle style_;
  std::chrono::steady_clock::time_point next_;
  std::string line_;
  double fraction_ = 0;
  bool standing_ = false;  // a bar without line end is on the terminal
};

std::string human_bytes(std::uint64_t bytes);  // "512 B", "1.50 KiB", "15.3 GiB"
std::string human_count(double count);         // "42", "5.67 M", "1.80 T"; also for FLOP
std::string counted(std::int64_t count, const char* one, const char* more = "");  // "1 shard", "3 shards", "2 classes"
std::string human_duration(double seconds);  // "0.42 s", "12.3 s", "5 min 12 s", "1 h 12 min", "3 d 4 h"

}  // namespace lacuna
