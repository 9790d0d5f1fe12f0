// The handler only stores to lock-free atomics and calls _exit: both are safe in a signal.
#include "evaluation/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iterator>

namespace coss {

namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);
std::atomic<bool> wants_checkpoint{false};
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
struct sigaction old_actions[std::size(kSignals)];

extern "C" void on_signal(int number) {
  if (number == SIGUSR1) {
    wants_checkpoint = true;
    return;
  }
  if (received.exchange(number) != 0) _exit(128 + number);
}

}  // namespace

SignalScope::SignalScope() {
  received = 0;
  wants_checkpoint = false;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], nullptr, &old_actions[i]);
    if (kSignals[i] != SIGHUP || old_actions[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

SignalScope::~SignalScope() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_actions[i], nullptr);
}

bool interrupted() { return received.load() != 0; }

bool checkpoint_requested() { return wants_checkpoint.exchange(false); }

void stop_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

int interrupt_exit_code() {
  const int number = received.load();
  return number == 0 ? 0 : 128 + number;
}

}  // namespace coss
