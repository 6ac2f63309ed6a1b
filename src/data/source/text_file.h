#pragma once
// Reads text a user wrote, line by line, with a bound on what one line may cost.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace lacuna {

class TextFile {
 public:
  // Throws Error when the file cannot be opened.
  explicit TextFile(std::filesystem::path path);

  // The next byte, or -1 at the end. A leading UTF-8 byte order mark is skipped; "\r\n" reads as "\n". Throws Error at
  // a NUL byte: the file is no text.
  int get();

  // The next line without its end; false when there is none. Throws Error on lines over kMaxRecord bytes.
  bool line(std::string& out);

  // For messages: "list.txt:12".
  std::string place() const { return place(line_); }
  std::string place(std::int64_t line) const { return path_.string() + ":" + std::to_string(line); }
  std::int64_t line_number() const { return line_; }

  static constexpr std::size_t kMaxRecord = std::size_t{1} << 20;

 private:
  std::filesystem::path path_;
  std::ifstream stream_;
  std::int64_t line_ = 0;  // of the byte read last, from 1
  bool at_line_start_ = true;
};

std::vector<std::string> split(std::string_view line, char separator);

std::string lower_case(std::string_view word);

}  // namespace lacuna
