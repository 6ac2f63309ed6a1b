#pragma once
// The program under test as a user runs it: a process with arguments, an exit code and two streams. LACUNA_BIN names
// the binary (ctest sets it).

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"

extern char** environ;

namespace lacuna::testing {

using Words = std::vector<std::string>;

inline std::string lacuna_binary() {
  const char* named = std::getenv("LACUNA_BIN");
  if (named == nullptr)
    throw std::runtime_error("LACUNA_BIN is not set: it must name the lacuna binary (ctest sets it)");
  if (!std::filesystem::exists(named)) throw std::runtime_error(std::string("LACUNA_BIN names no file: ") + named);
  return named;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

struct Ended {
  int code = -1;   // exit code; -1 after a signal
  int signal = 0;  // that ended it
  std::string out, err;
};

class Process {
 public:
  explicit Process(const Words& arguments) {
    const std::string binary = lacuna_binary();
    std::vector<char*> words{const_cast<char*>(binary.c_str())};
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const auto& [stream, name] : {std::pair{STDOUT_FILENO, "out"}, std::pair{STDERR_FILENO, "err"}})
      posix_spawn_file_actions_addopen(&actions, stream, (folder_ / name).c_str(), O_WRONLY | O_CREAT, 0600);
    const int fault = posix_spawn(&child_, binary.c_str(), &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (fault != 0) throw std::runtime_error("cannot start " + binary);
  }
  ~Process() {
    if (child_ == 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { ::kill(child_, signal); }
  bool is_running() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == 0;
  }

  Ended wait() {
    int status = 0;
    ::waitpid(std::exchange(child_, 0), &status, 0);
    Ended ended{.out = content_of(folder_ / "out"), .err = content_of(folder_ / "err")};
    if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
    return ended;
  }

 private:
  TemporaryFolder folder_;
  pid_t child_ = 0;
};

inline Ended lacuna_run(const Words& arguments) { return Process(arguments).wait(); }

}  // namespace lacuna::testing
