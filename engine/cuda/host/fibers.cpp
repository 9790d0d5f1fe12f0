// Grids on the processor: fibers, barriers, warp operations, and the checks of shared memory.
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <map>
#include <memory>
#include <numeric>

#include "engine/check.h"
#include "engine/cuda/host/device.h"
#include "engine/philox.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define COSS_ASAN 1
#endif
#ifdef __clang__
#define COSS_OPAQUE [[gnu::noinline, gnu::no_sanitize_address]]
#else
#define COSS_OPAQUE [[gnu::noipa, gnu::no_sanitize_address]]
#endif

namespace coss::cuda::host {

Thread* self = nullptr;

namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr unsigned kWarpSize = 32;

enum class Wait { none, barrier, warp, done };

using Place = std::array<void*, 5>;  // the buffer of __builtin_setjmp

struct Fiber : Thread {
  Place place{};
  bool begun = false;
  void* stack = nullptr;
  void* fake_stack = nullptr;  // the address sanitizer's
  Wait wait = Wait::none;
  const char* file = nullptr;  // of the barrier it waits at
  int line = 0;
};

// The current operation of a warp: the words given so far, by lane. Two sets take turns, because a fast lane may start
// the next operation while a slow one still reads; it cannot get further than that.
struct Warp {
  uint64_t words[2][kWarpSize] = {};
  unsigned arrived = 0, mask = 0;
  unsigned step = 0;  // number of finished operations
  const char* operation = nullptr;
  unsigned lanes = 0;  // lanes that exist
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  unsigned count = 0;  // fibers in use
  const std::function<void()>* body = nullptr;
  const char* kernel = "";
  uint64_t epoch = 1;  // counts barriers over all blocks; an access with an older number was before the last barrier
  uint64_t block_epoch = 1;  // its value when the block began
  std::string error;
  Place scheduler{};
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  std::vector<unsigned char> dynamic;
  std::vector<Touched> dynamic_touched;
  size_t dynamic_size = 0;
  std::map<const void*, int64_t> launches;
};
Block block;

Fiber& current() { return static_cast<Fiber&>(*self); }

// --- switching -----------------------------------------------------------------------------------------------------

// Fibers switch by the compiler's own setjmp and longjmp, which make no system call; swapcontext makes two, and the
// address sanitizer's longjmp cleans the whole stack. ucontext only gives a fiber its stack. The compiler must not
// inline these functions: it would see no way back from a jump, and keep values in registers that the other fiber uses.
COSS_OPAQUE void leap(Place& to) { __builtin_longjmp(to.data(), 1); }
COSS_OPAQUE void jump(Place& from, Place& to) {
  if (__builtin_setjmp(from.data()) == 0) leap(to);
}
COSS_OPAQUE void jump_first(Place& from, ucontext_t& to) {
  if (__builtin_setjmp(from.data()) == 0) setcontext(&to);
}

void to_scheduler() {
  Fiber& fiber = current();
#ifdef COSS_ASAN
  __sanitizer_start_switch_fiber(&fiber.fake_stack, block.scheduler_stack, block.scheduler_stack_bytes);
#endif
  jump(fiber.place, block.scheduler);
#ifdef COSS_ASAN
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &block.scheduler_stack, &block.scheduler_stack_bytes);
#endif
}

// A fiber throws this to end itself after the block has failed.
struct Abandoned {};

[[noreturn]] void fail(const std::string& what) {
  if (block.error.empty()) block.error = std::string("[") + block.kernel + "] " + what;
  throw Abandoned{};
}

// The main function of a fiber: it runs one thread of one block after the other.
void enter() {
#ifdef COSS_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_stack_bytes);
#endif
  for (;;) {
    try {
      (*block.body)();
    } catch (const Abandoned&) {
    } catch (const std::exception& error) {
      if (block.error.empty()) block.error = std::string("[") + block.kernel + "] " + error.what();
    }
    current().wait = Wait::done;
    to_scheduler();
  }
}

void resume(Fiber& fiber) {
  self = &fiber;
#ifdef COSS_ASAN
  __sanitizer_start_switch_fiber(&block.scheduler_fake_stack, fiber.stack, kStackBytes);
#endif
  if (fiber.begun) {
    jump(block.scheduler, fiber.place);
  } else {
    fiber.begun = true;
    ucontext_t start{};
    getcontext(&start);
    start.uc_stack.ss_sp = fiber.stack;
    start.uc_stack.ss_size = kStackBytes;
    makecontext(&start, enter, 0);
    jump_first(block.scheduler, start);
  }
#ifdef COSS_ASAN
  __sanitizer_finish_switch_fiber(block.scheduler_fake_stack, nullptr, nullptr);
#endif
}

// Switches to other fibers until one of them sets `wait` back to none.
void hand_over() {
  to_scheduler();
  if (!block.error.empty()) throw Abandoned{};
}

std::string text_of(const dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}
std::string place_of(const Fiber& fiber) {
  return "thread " + text_of(fiber.thread) + " of block " + text_of(fiber.block);
}

// --- one block -----------------------------------------------------------------------------------------------------

void prepare(dim3 threads, size_t shared) {
  block.count = threads.x * threads.y * threads.z;
  while (block.fibers.size() < block.count) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    COSS_CHECK(fiber->stack != MAP_FAILED, "no memory for the stack of a fiber");
    block.fibers.push_back(std::move(fiber));
  }
  block.dynamic_size = shared;
  if (block.dynamic.size() < shared + 16) {
    block.dynamic.resize(shared + 16);
    block.dynamic_touched.resize(shared + 16);
  }
}

// Releases a barrier that all fibers have reached. Returns false when no fiber can continue.
bool release_barrier() {
  const Fiber* first = nullptr;
  unsigned waiting = 0, done = 0;
  for (unsigned i = 0; i < block.count; ++i) {
    const Fiber& fiber = *block.fibers[i];
    if (fiber.wait == Wait::done) {
      ++done;
    } else if (fiber.wait == Wait::warp) {
      const Warp& warp = block.warps[i / kWarpSize];
      block.error = std::string("[") + block.kernel + "] " + place_of(fiber) + " waits in " + warp.operation +
                    " for lanes that never come (mask " + std::to_string(warp.mask) + ", arrived " +
                    std::to_string(warp.arrived) + ")";
      return false;
    } else {
      if (!first) first = &fiber;
      ++waiting;
      if (fiber.line != first->line || std::strcmp(fiber.file, first->file) != 0) {
        block.error = std::string("[") + block.kernel + "] " + place_of(*first) + " waits at the barrier in line " +
                      std::to_string(first->line) + ", " + place_of(fiber) + " at the one in line " +
                      std::to_string(fiber.line);
        return false;
      }
    }
  }
  if (done > 0) {
    block.error = std::string("[") + block.kernel + "] " + place_of(*first) + " waits at the barrier in line " +
                  std::to_string(first->line) + ", which " + std::to_string(done) + " threads do not reach";
    return false;
  }
  for (unsigned i = 0; i < block.count; ++i) block.fibers[i]->wait = Wait::none;
  ++block.epoch;
  return waiting > 0;
}

void run_block(dim3 index, dim3 blocks, dim3 threads) {
  block.block_epoch = ++block.epoch;
  block.warps.assign((block.count + kWarpSize - 1) / kWarpSize, Warp{});
  for (unsigned i = 0; i < block.count; ++i) {
    Fiber& fiber = *block.fibers[i];
    fiber.linear = i;
    fiber.thread = dim3(i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y));
    fiber.block = index;
    fiber.threads = threads;
    fiber.blocks = blocks;
    fiber.wait = Wait::none;
    block.warps[i / kWarpSize].lanes |= 1u << i % kWarpSize;
  }
  // An order that differs from block to block, but not from run to run.
  const uint32_t turn = philox(0, block.epoch).word[0];
  const bool backwards = turn & 1u;
  const unsigned first = (turn >> 1) % block.count;
  unsigned left = block.count;
  while (left > 0) {
    bool progress = false;
    left = 0;
    for (unsigned i = 0; i < block.count; ++i) {
      const unsigned at = (first + (backwards ? block.count - 1 - i : i)) % block.count;
      Fiber& fiber = *block.fibers[at];
      if (fiber.wait == Wait::none || (!block.error.empty() && fiber.wait != Wait::done)) {
        resume(fiber);
        progress = true;
      }
      left += fiber.wait != Wait::done;
    }
    // After a failure every fiber is resumed once more and unwinds its stack.
    if (left > 0 && !progress) release_barrier();
  }
}

}  // namespace

void run_grid(const char* name, dim3 blocks, dim3 threads, size_t shared, const std::function<void()>& body) {
  COSS_CHECK(self == nullptr, std::string("[") + name + "] a kernel launches a kernel");
  const int64_t size = int64_t(threads.x) * threads.y * threads.z;
  COSS_CHECK(size >= 1 && size <= 1024, std::string("[") + name + "] blocks of " + std::to_string(size) + " threads");
  COSS_CHECK(shared <= (227u << 10),
             std::string("[") + name + "] " + std::to_string(shared) + " bytes of shared memory in a block");
  COSS_CHECK(blocks.x >= 1 && blocks.y >= 1 && blocks.z >= 1 && blocks.x < (1u << 31) && blocks.y < (1u << 16) &&
                 blocks.z < (1u << 16),
             std::string("[") + name + "] a grid of " + text_of(blocks) + " blocks");
  prepare(threads, shared);
  block.body = &body;
  block.kernel = name;
  block.error.clear();
  for (unsigned z = 0; z < blocks.z; ++z)
    for (unsigned y = 0; y < blocks.y; ++y)
      for (unsigned x = 0; x < blocks.x && block.error.empty(); ++x) run_block(dim3(x, y, z), blocks, threads);
  self = nullptr;
  if (!block.error.empty()) throw Error(block.error);
}

void count_launch(const void* kernel) { ++block.launches[kernel]; }

std::string kernels_run() {
  auto line = [](const void* address, int64_t count) {
    return std::to_string(reinterpret_cast<uintptr_t>(address)) + " " + std::to_string(count) + "\n";
  };
  std::string text = line(reinterpret_cast<const void*>(&run_grid), 0);
  for (const auto& [kernel, count] : block.launches) text += line(kernel, count);
  return text;
}

void barrier(const char* file, int line) {
  Fiber& fiber = current();
  fiber.wait = Wait::barrier;
  fiber.file = file;
  fiber.line = line;
  hand_over();
}

unsigned lane_mask() { return block.warps[self->linear / kWarpSize].lanes; }

const uint64_t* exchange(unsigned mask, uint64_t word, const char* operation) {
  Fiber& fiber = current();
  Warp& warp = block.warps[fiber.linear / kWarpSize];
  const unsigned own = 1u << lane();
  mask &= warp.lanes;  // a full mask in a block whose last warp is not full
  if (!(mask & own)) fail(std::string(operation) + ": " + place_of(fiber) + " is not in its own mask");
  if (warp.arrived == 0) {
    warp.mask = mask;
    warp.operation = operation;
  } else if (warp.mask != mask || std::strcmp(warp.operation, operation) != 0) {
    fail(place_of(fiber) + " is in " + operation + " while other lanes are in " + warp.operation +
         ", or their masks differ");
  }
  uint64_t* words = warp.words[warp.step % 2];
  words[lane()] = word;
  warp.arrived |= own;
  if (warp.arrived == mask) {
    warp.arrived = 0;
    ++warp.step;
    const unsigned first = fiber.linear / kWarpSize * kWarpSize;
    for (unsigned i = 0; i < kWarpSize; ++i)
      if (mask >> i & 1u) block.fibers[first + i]->wait = Wait::none;
  } else {
    fiber.wait = Wait::warp;
    hand_over();
  }
  return words;
}

// --- shared memory -------------------------------------------------------------------------------------------------

namespace {

int warp_of(int thread) { return int(unsigned(thread) / kWarpSize); }
unsigned own_step() { return block.warps[self->linear / kWarpSize].step; }

// Whether the warp's own operations ordered that access of another thread before this one.
bool ordered(int thread, unsigned step) {
  return thread >= 0 && warp_of(thread) == warp_of(int(self->linear)) && step != own_step();
}

[[noreturn]] void race(const char* what, const char* name, size_t index) {
  fail(std::string("race: ") + what + " of " + name + "[" + std::to_string(index) + "] by " + place_of(current()) +
       " and another thread with no barrier in between");
}

}  // namespace

void note_read(Touched& t, const char* name, size_t index) {
  const int me = int(self->linear);
  if (t.write_epoch < block.block_epoch)
    fail(std::string("read of ") + name + "[" + std::to_string(index) + "], which this block has not written");
  if (t.write_epoch == block.epoch && t.writer != me && !ordered(t.writer, t.writer_step))
    race("a read and a write", name, index);
  if (t.read_epoch != block.epoch) {
    t.reader = me;
    t.reader_warp = warp_of(me);
  } else if (t.reader_warp != warp_of(me)) {
    t.reader = t.reader_warp = -2;
  } else if (t.reader != me && !ordered(me, t.reader_step)) {
    t.reader = -2;
  } else {
    t.reader = me;  // earlier steps of this warp are ordered before its next access
  }
  t.read_epoch = block.epoch;
  t.reader_step = own_step();
}

void note_write(Touched& t, const char* name, size_t index) {
  const int me = int(self->linear);
  if (t.write_epoch == block.epoch && t.writer != me && !ordered(t.writer, t.writer_step))
    race("two writes", name, index);
  const bool earlier_step = t.reader_warp == warp_of(me) && t.reader_step != own_step();
  if (t.read_epoch == block.epoch && t.reader != me && !earlier_step) race("a read and a write", name, index);
  t.write_epoch = block.epoch;
  t.writer = me;
  t.writer_step = own_step();
}

void note_atomic(Touched& t, const char* name, size_t index) {
  if (t.write_epoch < block.block_epoch)
    fail(std::string("read of ") + name + "[" + std::to_string(index) + "], which this block has not written");
  if (t.write_epoch == block.epoch && t.writer >= 0 && t.writer != int(self->linear) &&
      !ordered(t.writer, t.writer_step))
    race("a write and an atomic operation", name, index);
  t.write_epoch = block.epoch;
  t.writer = -2;
}

void check_index(size_t index, size_t count, const char* name) {
  if (index >= count)
    fail(std::string(name) + "[" + std::to_string(index) + "] in shared memory of " + std::to_string(count) +
         " elements");
}

unsigned char* dynamic_bytes() {
  auto address = reinterpret_cast<uintptr_t>(block.dynamic.data());
  return block.dynamic.data() + (16 - address % 16) % 16;
}
Touched* dynamic_touched() { return block.dynamic_touched.data(); }
size_t dynamic_size() { return block.dynamic_size; }

}  // namespace coss::cuda::host
