// Context: what a kernel launch needs (memory, workspace, the backend's state). context() returns the one of a device.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/pool.h"
#include "engine/types.h"

namespace coss {

// What a backend keeps between launches: library handles, streams, plan caches. Each backend derives its own.
struct BackendState {
  virtual ~BackendState() = default;
};

// Work that was recorded once and can be launched as a whole (a CUDA graph). The memory it uses must outlive it.
struct Recording {
  virtual ~Recording() = default;
};

// What `coss doctor` prints about a device.
struct DeviceInfo {
  std::string problem;                                        // why it cannot be used and what to do; empty: usable
  std::string name;                                           // of the processor
  std::vector<std::pair<std::string, std::string>> versions;  // driver, libraries: name, version or what is missing
  size_t memory_bytes = 0, free_bytes = 0;
  std::vector<DType> fast;  // compute dtypes for which the device has matrix or dot-product instructions
  bool records = false;     // begin_recording works
};

class Context {
 public:
  explicit Context(Device device) : device_(device), pool_(std::make_shared<Pool>(device)) {}
  ~Context();

  Device device() const { return device_; }
  // Where new tensors and the workspace come from.
  Pool& pool() { return *pool_; }
  std::shared_ptr<Pool> shared_pool() { return pool_; }

  // Scratch memory of at least `bytes`, aligned to 256, valid until the next call. It only ever grows.
  void* workspace(size_t bytes);

  // f32 convolutions and matrix products may round their inputs to TF32 (10 bits of mantissa) where that is faster.
  bool allow_tf32() const { return allow_tf32_; }
  void set_allow_tf32(bool allow) { allow_tf32_ = allow; }

  // Convolutions and matrix products of this device make their plans and compute nothing: for a step on the dry device,
  // which has no memory (PlanScope in engine/kernels.h).
  bool plans_only() const { return plans_only_; }
  void set_plans_only(bool only) { plans_only_ = only; }

  // How often the host has waited for the device. A training step never does.
  int64_t waits() const { return waits_; }
  void count_wait() { ++waits_; }

  // The backend's own state, made on first use.
  template <class State>
  State& state() {
    if (!state_) state_ = std::make_unique<State>();
    return static_cast<State&>(*state_);
  }

 private:
  friend class PoolScope;
  Device device_;
  std::shared_ptr<Pool> pool_;
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
  bool allow_tf32_ = false, plans_only_ = false;
  int64_t waits_ = 0;
  std::unique_ptr<BackendState> state_;
};

// In this scope tensors and the workspace come from another pool. A recorded step needs this: nothing else then uses
// its memory as long as that pool lives.
class PoolScope {
 public:
  struct Memory {  // what is kept from one scope to the next
    explicit Memory(Device device) : pool(std::make_shared<Pool>(device)) {}
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();
    std::shared_ptr<Pool> pool;
    void* workspace = nullptr;
    size_t workspace_bytes = 0;
  };
  PoolScope(Context& ctx, Memory& memory) : ctx_(ctx), memory_(memory) { exchange(); }
  ~PoolScope() { exchange(); }
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  void exchange();
  Context& ctx_;
  Memory& memory_;
};

Context& context(Device device);

// Threads of the CPU kernels; 0 means one per core. Set once at start-up, before the first kernel.
void set_threads(int threads);
int threads();

}  // namespace coss
