// Ctrl-C and SIGTERM: the first asks for a checkpoint and an orderly end, the second ends at once.
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

bool interrupted();
// Thrown out of long work that keeps nothing when it is stopped half-way; what it had written is taken back.
struct Interrupted {};
void stop_if_interrupted();
// 130 after SIGINT, 143 after SIGTERM, 0 otherwise.
int interrupt_exit_code();

}  // namespace coss
