// The handler only stores to lock-free atomics and calls _exit: both are safe in a signal.
#include "evaluation/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace coss {

namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);
struct sigaction old_interrupt, old_terminate;

extern "C" void on_signal(int number) {
  if (received.exchange(number) != 0) _exit(128 + number);
}

}  // namespace

SignalScope::SignalScope() {
  received = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_interrupt);
  sigaction(SIGTERM, &action, &old_terminate);
}

SignalScope::~SignalScope() {
  sigaction(SIGINT, &old_interrupt, nullptr);
  sigaction(SIGTERM, &old_terminate, nullptr);
}

bool interrupted() { return received.load() != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

int interrupt_exit_code() {
  const int number = received.load();
  return number == 0 ? 0 : 128 + number;
}

}  // namespace coss
