#include "base/signals.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace lacuna {
namespace {

volatile std::sig_atomic_t asked = 0;  // process-wide by nature: a signal handler has no other way to speak

void remember(int signal) {
  if (asked == SIGINT && signal == SIGINT) _exit(static_cast<int>(ExitCode::kInterrupted));
  asked = signal;
}

}  // namespace

void install_stop_signals() {
  asked = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

int stop_signal() { return asked; }

const char* signal_name(int signal) {
  switch (signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "no signal";
  }
}

}  // namespace lacuna
