#include "data/source/text_file.h"

#include <utility>

#include "base/error.h"

namespace lacuna {

TextFile::TextFile(std::filesystem::path path) : path_(std::move(path)), stream_(path_, std::ios::binary) {
  check(stream_.is_open(), path_.string(), ": cannot be opened for reading; check that it exists and is readable");
  char mark[3] = {};
  stream_.read(mark, 3);
  if (stream_.gcount() != 3 || std::string_view(mark, 3) != "\xEF\xBB\xBF") {
    stream_.clear();
    stream_.seekg(0);
  }
}

int TextFile::get() {
  auto* buffer = stream_.rdbuf();
  int byte = buffer->sbumpc();
  if (byte == '\r' && buffer->sgetc() == '\n') byte = buffer->sbumpc();
  if (byte == std::char_traits<char>::eof()) return -1;
  if (at_line_start_) ++line_;
  at_line_start_ = byte == '\n';
  if (byte == 0) fail(place(), ": expected text, found a NUL byte; is this a list of images?");
  return byte;
}

bool TextFile::line(std::string& out) {
  out.clear();
  int byte = get();
  if (byte < 0) return false;
  for (; byte >= 0 && byte != '\n'; byte = get()) {
    if (out.size() >= kMaxRecord)
      fail(place(), ": the line is longer than ", kMaxRecord, " bytes; is this a list of images?");
    out.push_back(static_cast<char>(byte));
  }
  return true;
}

std::vector<std::string> split(std::string_view line, char separator) {
  std::vector<std::string> fields;
  for (;;) {
    const std::size_t end = line.find(separator);
    fields.emplace_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

std::string lower_case(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace lacuna
