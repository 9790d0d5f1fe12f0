// The part of CUDA's language that the kernels use, as plain C++, so that they run and are checked without a GPU.
//
// A grid runs block after block on the calling thread; the threads of a block are fibers, resumed in an order that
// changes from block to block. Barriers, warp shuffles and votes switch to the next fiber. What a GPU would leave
// undefined is an error that names the kernel: a barrier or a warp operation that not all threads reach, and a read and
// a write (or two writes) of one element of shared memory by two threads with no barrier in between.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
};

namespace coss::cuda::host {

struct Thread {
  dim3 thread, block, threads, blocks;
  unsigned linear = 0;  // in its block
};
// The fiber that runs now.
extern Thread* self;

// Runs `body` once per thread of the grid. Throws Error on what is undefined on a GPU.
void run_grid(const char* name, dim3 blocks, dim3 threads, size_t shared, const std::function<void()>& body);
// Runs `work` now, or keeps it when a recording is being made (memory.cpp).
void run_or_record(std::function<void()> work);
// Counts a launch of the kernel at this address.
void count_launch(const void* kernel);
// The kernels that were launched so far, one line "ADDRESS LAUNCHES" each. The first line is the address of run_grid,
// from which check_cuda_kernels.py computes the addresses in the program file.
std::string kernels_run();

void barrier(const char* file, int line);
// Every lane of `mask` gives a word and gets the words of all lanes; `operation` names the operation for errors.
const uint64_t* exchange(unsigned mask, uint64_t word, const char* operation);

// --- shared memory -------------------------------------------------------------------------------------------------

// Which threads accessed an element since the last barrier.
struct Touched {
  uint64_t write_epoch = 0, read_epoch = 0;   // 0: never
  int writer = -1, reader = -1;               // -2: several threads
  unsigned writer_step = 0, reader_step = 0;  // number of operations that the warp had finished then
  int reader_warp = -1;                       // -2: several
};
void note_read(Touched& touched, const char* name, size_t index);
void note_write(Touched& touched, const char* name, size_t index);
void note_atomic(Touched& touched, const char* name, size_t index);
// Fails when `index` is not below `count`.
void check_index(size_t index, size_t count, const char* name);

// A reference to one element that reports its accesses.
template <class T>
class Element {
 public:
  Element(T& value, Touched& touched, const char* name, size_t index)
      : value_(value), touched_(touched), name_(name), index_(index) {}
  operator T() const {
    note_read(touched_, name_, index_);
    return value_;
  }
  T operator=(T value) const {
    note_write(touched_, name_, index_);
    return value_ = value;
  }
  T operator=(const Element& other) const { return *this = T(other); }
  T operator+=(T value) const { return *this = T(T(*this) + value); }
  T operator-=(T value) const { return *this = T(T(*this) - value); }
  T operator|=(T value) const { return *this = T(T(*this) | value); }
  T add_atomically(T value) const {
    note_atomic(touched_, name_, index_);
    const T old = value_;
    value_ = T(old + value);
    return old;
  }

 private:
  T& value_;
  Touched& touched_;
  const char* name_;
  size_t index_;
};

// A __shared__ array of a fixed size. Blocks run one after the other, so one instance serves them all.
template <class T, size_t kCount>
class Shared {
 public:
  explicit Shared(const char* name) : name_(name) {}
  template <class I>
  Element<T> operator[](I index) {
    check_index(size_t(index), kCount, name_);
    return {items_[size_t(index)], touched_[size_t(index)], name_, size_t(index)};
  }

 private:
  const char* name_;
  T items_[kCount] = {};
  Touched touched_[kCount];
};

// The dynamic shared memory of the launch.
unsigned char* dynamic_bytes();
Touched* dynamic_touched();  // one per byte; an element uses that of its first byte
size_t dynamic_size();
template <class T>
class DynamicShared {
 public:
  explicit DynamicShared(const char* name) : name_(name) {}
  template <class I>
  Element<T> operator[](I index) const {
    check_index(size_t(index), dynamic_size() / sizeof(T), name_);
    T& item = reinterpret_cast<T*>(dynamic_bytes())[size_t(index)];
    return {item, dynamic_touched()[size_t(index) * sizeof(T)], name_, size_t(index)};
  }

 private:
  const char* name_;
};

// --- words ---------------------------------------------------------------------------------------------------------

template <class T>
uint64_t to_word(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  return word;
}
template <class T>
T from_word(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof(T));
  return value;
}
inline unsigned lane() { return self->linear % 32; }
unsigned lane_mask();  // the lanes of this fiber's warp that exist

}  // namespace coss::cuda::host

#define threadIdx (::coss::cuda::host::self->thread)
#define blockIdx (::coss::cuda::host::self->block)
#define blockDim (::coss::cuda::host::self->threads)
#define gridDim (::coss::cuda::host::self->blocks)
#define __syncthreads() ::coss::cuda::host::barrier(__FILE__, __LINE__)

#define COSS_UNROLL
#define COSS_UNROLL_4
#define COSS_SHARED(T, name, count) static ::coss::cuda::host::Shared<T, size_t(count)> name(#name)
#define COSS_DYNAMIC_SHARED(T, name) const ::coss::cuda::host::DynamicShared<T> name(#name)

namespace coss::cuda {

inline void __syncwarp(unsigned mask = 0xffffffffu) { host::exchange(mask, 0, "__syncwarp"); }
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned first = host::lane() / unsigned(width) * unsigned(width);
  return host::from_word<T>(
      host::exchange(mask, host::to_word(value), "__shfl_sync")[first + unsigned(source) % unsigned(width)]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return host::from_word<T>(
      host::exchange(mask, host::to_word(value), "__shfl_xor_sync")[host::lane() ^ unsigned(lanes)]);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes) {
  const unsigned source = host::lane() + lanes;
  const uint64_t* words = host::exchange(mask, host::to_word(value), "__shfl_down_sync");
  return source < 32 ? host::from_word<T>(words[source]) : value;
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes) {
  const uint64_t* words = host::exchange(mask, host::to_word(value), "__shfl_up_sync");
  return host::lane() >= lanes ? host::from_word<T>(words[host::lane() - lanes]) : value;
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const uint64_t* words = host::exchange(mask, predicate != 0, "__ballot_sync");
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1u) bits |= unsigned(words[i]) << i;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits ? std::countr_zero(unsigned(bits)) + 1 : 0; }
inline int __clz(int bits) { return std::countl_zero(unsigned(bits)); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
// Within two units in the last place of a quotient below 2^126.
inline float __fdividef(float a, float b) { return a / b; }
// Each operation rounds by itself: the compiler does not fuse these.
inline float __fmul_rn(float a, float b) {
  volatile float product = a * b;
  return product;
}
inline float __fadd_rn(float a, float b) {
  volatile float sum = a + b;
  return sum;
}
inline double __dmul_rn(double a, double b) {
  volatile double product = a * b;
  return product;
}
inline double __dadd_rn(double a, double b) {
  volatile double sum = a + b;
  return sum;
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
inline void __threadfence() {}
// Kernels use them for whole numbers only, so that results do not depend on the order of threads.
template <class T>
T atomicAdd(T* p, T value) {
  const T old = *p;
  *p = T(old + value);
  return old;
}
template <class T>
T atomicMax(T* p, T value) {
  const T old = *p;
  *p = std::max(old, value);
  return old;
}
template <class Array, class T>
T shared_add(Array& array, int i, T value) {
  return array[i].add_atomically(value);
}

using std::max;
using std::min;

}  // namespace coss::cuda
