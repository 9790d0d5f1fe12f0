// Context: all that a kernel launch needs. One per device and process; autograd and tools fetch it with context().
#pragma once
#include <cstddef>
#include <memory>

#include "engine/pool.h"
#include "engine/types.h"

namespace coss {

// What a backend keeps between launches: library handles, streams, plan caches. Each backend derives its own.
struct BackendState {
  virtual ~BackendState() = default;
};

class Context {
 public:
  explicit Context(Device device) : device_(device), pool_(device) {}
  ~Context();

  Device device() const { return device_; }
  Pool& pool() { return pool_; }

  // Scratch memory of at least `bytes`, aligned to 256, valid until the next call. It only ever grows.
  void* workspace(size_t bytes);

  // The backend's own state, made on first use.
  template <class State>
  State& state() {
    if (!state_) state_ = std::make_unique<State>();
    return static_cast<State&>(*state_);
  }

 private:
  Device device_;
  Pool pool_;
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
  std::unique_ptr<BackendState> state_;
};

Context& context(Device device);

// Threads of the CPU kernels; 0 means one per core. Set once at start-up, before the first kernel.
void set_threads(int threads);
int threads();

}  // namespace coss
