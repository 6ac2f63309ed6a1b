#include "base/log.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

std::string reason(int code) { return std::generic_category().message(code); }

// The length of the file up to and with its last line end.
std::int64_t complete_bytes(int descriptor, std::int64_t size, const std::filesystem::path& path) {
  std::array<char, 4096> block;
  while (size > 0) {
    const std::int64_t count = std::min<std::int64_t>(size, block.size());
    const ssize_t got = ::pread(descriptor, block.data(), static_cast<std::size_t>(count), size - count);
    check(got == count, path.string(), ": cannot read the record log: ", reason(errno));
    const auto end = std::find(block.rend() - count, block.rend(), '\n');
    if (end != block.rend()) return size - (end - (block.rend() - count));
    size -= count;
  }
  return 0;
}

// Without it, a rename may outlive a loss of power while the content does not.
void sync_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int code = errno;
  if (descriptor >= 0) ::close(descriptor);
  check(synced, path.string(), ": cannot sync the file: ", reason(code));
}

bool is_beyond(const nlohmann::json& record, const std::string& step_key, std::int64_t step) {
  const auto found = record.find(step_key);
  return found != record.end() && found->is_number() && found->get<double>() > static_cast<double>(step);
}

// At most `columns` code points of a UTF-8 line; control characters, which would tear the bar, become spaces.
std::string fit(std::string_view line, int columns) {
  std::string out;
  for (const char c : line) {
    const bool starts_character = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (starts_character && columns-- <= 0) break;
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

std::string percent(double fraction) {
  std::array<char, 16> out;
  std::snprintf(out.data(), out.size(), "%5.1f %%", 100 * fraction);
  return out.data();
}

int terminal_columns(int descriptor) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string three_digits(double value) {
  std::array<char, 32> out;
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::snprintf(out.data(), out.size(), "%.*f", decimals, value);
  return out.data();
}

// Divides by `base` until three digits are left, and says how often in units.
std::string scaled(double value, double base, std::span<const char* const> units) {
  std::size_t unit = 0;
  while (unit + 1 < units.size() && value >= base - 0.5) {
    value /= base;
    ++unit;
  }
  return three_digits(value) + " " + units[unit];
}

}  // namespace

RecordLog::RecordLog(std::filesystem::path path) : path_(std::move(path)) { open(); }

RecordLog::~RecordLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RecordLog::open() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  check(descriptor_ >= 0, path_.string(), ": cannot open the record log: ", reason(errno));
  const off_t size = ::lseek(descriptor_, 0, SEEK_END);
  const std::int64_t complete = complete_bytes(descriptor_, size, path_);
  check(complete == size || ::ftruncate(descriptor_, complete) == 0, path_.string(),
        ": cannot drop its torn last line: ", reason(errno));
}

void RecordLog::truncate_after(const std::string& step_key, std::int64_t step) {
  std::ifstream old(path_, std::ios::binary);
  std::filesystem::path kept_path = path_;
  kept_path += ".tmp";
  std::ofstream kept(kept_path, std::ios::binary | std::ios::trunc);
  check(old.is_open() && kept.is_open(), path_.string(), ": cannot open the record log to shorten it");
  std::string line;
  for (std::int64_t number = 1; std::getline(old, line); ++number) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object()) {
      fail_data(path_.string(), ": line ", number, ": expected a JSON object, found something else; delete the line, ",
                "or move the file away");
    }
    if (!is_beyond(record, step_key, step)) kept << line << '\n';
  }
  kept.close();
  check(kept.good(), kept_path.string(), ": cannot write the shortened record log; is the disk full?");
  sync_file(kept_path);
  std::error_code code;
  std::filesystem::rename(kept_path, path_, code);
  check(!code, path_.string(), ": cannot replace the record log: ", code.message());
  open();
}

void RecordLog::append(const nlohmann::json& record) {
  invariant(record.is_object(), "a record must be a JSON object");
  const std::string line = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    check(written >= 0, path_.string(), ": cannot append to the record log: ", reason(errno));
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

ProgressStyle progress_style(int descriptor) {
  const auto variable = [](const char* name) { return std::string_view(std::getenv(name) ? std::getenv(name) : ""); };
  ProgressStyle style;
  style.terminal = ::isatty(descriptor) == 1 && variable("TERM") != "dumb";
  style.color = style.terminal && variable("NO_COLOR").empty();
  style.interval = style.terminal ? 0.2 : 10;
  style.columns = [descriptor] { return terminal_columns(descriptor); };
  return style;
}

Progress::Progress(std::ostream& out, ProgressStyle style)
    : out_(out), style_(std::move(style)), next_(std::chrono::steady_clock::now()) {}

Progress::~Progress() { finish(); }

bool Progress::due() const { return std::chrono::steady_clock::now() >= next_; }

void Progress::show(const std::string& line, double fraction) {
  line_ = line;
  fraction_ = fraction > 0 ? std::min(fraction, 1.0) : 0;  // NaN counts as nothing done
  next_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                 std::chrono::duration<double>(style_.interval));
  draw();
}

void Progress::note(const std::string& line) {
  if (standing_) out_ << "\r\x1b[K";
  out_ << line << '\n';
  if (standing_) draw();
  out_.flush();
}

void Progress::finish() {
  if (std::exchange(standing_, false)) out_ << '\n' << std::flush;
}

void Progress::draw() {
  if (!style_.terminal) {
    out_ << percent(fraction_) << "  " << line_ << '\n' << std::flush;
    return;
  }
  const int columns = style_.columns() - 1;  // a character in the last column would wrap on some terminals
  const int cells = std::clamp(columns / 5, 0, 30);
  const int full = static_cast<int>(fraction_ * cells);
  const std::string tail = fit(" " + percent(fraction_) + "  " + line_, columns - cells);
  out_ << "\r\x1b[K" << (style_.color ? "\x1b[36m" : "") << std::string(full, '#') << (style_.color ? "\x1b[2m" : "")
       << std::string(cells - full, '-') << (style_.color ? "\x1b[0m" : "") << tail << std::flush;
  standing_ = true;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  return scaled(static_cast<double>(bytes) / 1024, 1024, kUnits);
}

std::string human_count(double count) {
  constexpr const char* kUnits[] = {"k", "M", "G", "T", "P", "E"};
  if (!std::isfinite(count)) return "unknown";
  if (count < 0) return "-" + human_count(-count);
  if (count < 999.5) return count == std::floor(count) ? std::to_string(static_cast<int>(count)) : three_digits(count);
  return scaled(count / 1000, 1000, kUnits);
}

std::string counted(std::int64_t count, const char* one, const char* more) {
  const std::string number = std::to_string(count) + ' ';
  if (count == 1) return number + one;
  return number + (*more == '\0' ? std::string(one) + 's' : more);
}

std::string human_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "unknown";
  if (seconds < 59.95) {
    std::array<char, 16> out;
    std::snprintf(out.data(), out.size(), seconds < 0.995 ? "%.2f s" : "%.1f s", seconds);
    return out.data();
  }
  const std::int64_t whole = std::llround(seconds);
  const std::int64_t minutes = whole < 3600 ? whole / 60 : std::llround(seconds / 60);
  if (minutes < 60) return text(minutes, " min ", whole % 60, " s");
  if (minutes < 24 * 60) return text(minutes / 60, " h ", minutes % 60, " min");
  const std::int64_t hours = std::llround(seconds / 3600);
  return text(hours / 24, " d ", hours % 24, " h");
}

}  // namespace lacuna
