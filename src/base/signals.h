#pragma once
// Asking a run to stop. SIGINT, SIGTERM and SIGUSR1 are remembered and looked at between steps; a second SIGINT ends
// the process at once with the exit code of an interrupted run (the newest checkpoint stays good).

namespace lacuna {

void install_stop_signals();
int stop_signal();  // the signal that asked, or 0
const char* signal_name(int signal);

}  // namespace lacuna
