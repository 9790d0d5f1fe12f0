// Ctrl-C and SIGTERM. The first signal asks the program for a checkpoint and an orderly end; the second ends it at
// once.
#pragma once

namespace coss {

// Handles both signals while it is alive.
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
// The program's exit code: 130 after SIGINT, 143 after SIGTERM, else 0.
int interrupt_exit_code();

}  // namespace coss
