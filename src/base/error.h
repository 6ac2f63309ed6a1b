#pragma once
// How failures leave this program.
//
// A user's mistake (a wrong key, a missing folder, a broken file) throws `Error` with a sentence that names the
// place, what was expected, what was found and what to do next. A broken invariant of our own throws std::logic_error.
// Nothing below the command line exits or prints; `main` holds the one catch and maps the kind to the exit code.

#include <sstream>
#include <stdexcept>
#include <string>

namespace lacuna {

// The process's exit codes (documented in README).
enum class ExitCode : int {
  kDone = 0,
  kInternal = 1,     // our mistake
  kUser = 2,         // wrong key, value, path, teacher that does not fit
  kBadData = 3,      // more undecodable input than allowed, or a damaged file that was asked for by name
  kInterrupted = 4,  // stopped by a signal after saving; resumable
  kDifferent = 5,    // a comparison found a difference beyond what was allowed
};

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text, ExitCode code = ExitCode::kUser) : std::runtime_error(text), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

namespace detail {
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

// Joins anything streamable into one string.
template <class... Parts>
std::string text(const Parts&... parts) {
  return detail::concat(parts...);
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(detail::concat(parts...));
}

template <class... Parts>
[[noreturn]] void fail_data(const Parts&... parts) {
  throw Error(detail::concat(parts...), ExitCode::kBadData);
}

// For faults of the user or of their files: `check(file.size() > 8, path, ": expected a header of 8 bytes, found ",
// n)`.
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) fail(parts...);
}

// Does `act` and puts "KEY: " in front of what an Error of it says: the setting that led there.
template <class Act>
decltype(auto) naming(const char* key, Act&& act) {
  try {
    return act();
  } catch (const Error& error) {
    throw Error(detail::concat(key, ": ", error.what()), error.code());
  }
}

// For invariants of ours. A failure is a bug: the message asks the user to report it.
template <class... Parts>
void invariant(bool condition, const Parts&... parts) {
  if (!condition) throw std::logic_error(detail::concat(parts...));
}

}  // namespace lacuna
