// Ctrl-C, SIGTERM and SIGHUP (a terminal that was closed). The first signal asks the program for a checkpoint and an
// orderly end; the second ends it at once. SIGUSR1 asks for a checkpoint alone.
#pragma once

namespace coss {

// Handles the signals while it is alive. SIGHUP stays ignored where it was, as under nohup.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;
};

// True after a signal.
bool interrupted();
// Thrown out of long work that keeps nothing if it is stopped before its end; what it had written is removed.
struct Interrupted {};
// Throws Interrupted after a signal.
void stop_if_interrupted();
// True once after each SIGUSR1.
bool checkpoint_requested();
// The program's exit code: 128 and the signal's number (130 after SIGINT, 143 after SIGTERM), else 0.
int interrupt_exit_code();

}  // namespace coss
