// The building blocks of the kernels: 16-byte loads and stores of any compute dtype, sums over warps and blocks, shared
// memory. Everything here is also plain C++ in the host-run build (launch.h).
#pragma once
#include <cstdint>

#include "engine/cuda/launch.h"
#include "engine/kernel_params.h"
#include "engine/types.h"

#ifndef COSS_CUDA_HOST
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Put before a loop of a fixed length over registers: unrolls it.
#define COSS_UNROLL _Pragma("unroll")
// Put before a longer loop: unrolls four rounds.
#define COSS_UNROLL_4 _Pragma("unroll 4")
// Shared memory of a block, `count` elements of T (a type without constructors: float, int, uint16_t …). Elements are
// read and written one at a time by name[i], so that the host-run build sees every access: no pointers into it.
#define COSS_SHARED(T, name, count) __shared__ T name[count]
// The dynamic shared memory of the launch, as elements of T. At most one per kernel.
#define COSS_DYNAMIC_SHARED(T, name)                                 \
  extern __shared__ __align__(16) unsigned char coss_shared_bytes[]; \
  T* const name = reinterpret_cast<T*>(coss_shared_bytes)
#endif

namespace coss::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
// Elements that a thread loads at once in kernels that pass over memory: 16 bytes of a 16-bit type, twice 16 of f32.
constexpr int kVector = 8;

// --- scalars -------------------------------------------------------------------------------------------------------

#ifdef COSS_CUDA_HOST
inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return float(x); }
inline float to_float(f16 x) { return float(x); }
template <class T>
T from_float(float x) {
  return T(x);
}
#else
__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }
__device__ inline float to_float(f16 x) { return __half2float(__ushort_as_half(x.bits)); }
// Rounds to nearest even.
template <class T>
__device__ T from_float(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    T y;
    if constexpr (std::is_same_v<T, bf16>)
      y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    else
      y.bits = __half_as_ushort(__float2half_rn(x));
    return y;
  }
}
#endif

// --- vectors -------------------------------------------------------------------------------------------------------

__extension__ typedef unsigned __int128 uint128_t;

// Whether 16-byte accesses at p are allowed; true for null.
inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// 16 bytes, or fewer where N elements are fewer.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T item[N];
};

// N elements from p, which is aligned to min(16, N * sizeof(T)) bytes, as floats.
template <int N, class T>
__device__ inline void load(const T* p, float (&out)[N]) {
  constexpr int kPart = sizeof(T) * N > 16 ? int(16 / sizeof(T)) : N;
  COSS_UNROLL
  for (int part = 0; part < N; part += kPart) {
    const auto pack = *reinterpret_cast<const Pack<T, kPart>*>(p + part);
    COSS_UNROLL
    for (int i = 0; i < kPart; ++i) out[part + i] = to_float(pack.item[i]);
  }
}
// 16-bit types are stored as one integer: in long unrolled bodies the compiler splits structs into stores of 2 or 4
// bytes, each of which touches every sector again.
template <int N, class T>
__device__ inline void store(T* p, const float (&in)[N]) {
  if constexpr (sizeof(T) == 2 && N > 1) {
    static_assert(N == 2 || N == 4 || N == 8);
    using Word = std::conditional_t<N == 8, uint128_t, std::conditional_t<N == 4, uint64_t, uint32_t>>;
    Word all = 0;
    COSS_UNROLL
    for (int i = 0; i < N; ++i) all |= Word(from_float<T>(in[i]).bits) << (16 * i);
#ifdef COSS_CUDA_HOST
    std::memcpy(static_cast<void*>(p), &all, sizeof(Word));
#else
    *reinterpret_cast<Word*>(p) = all;
#endif
  } else {
    constexpr int kPart = sizeof(T) * N > 16 ? int(16 / sizeof(T)) : N;
    COSS_UNROLL
    for (int part = 0; part < N; part += kPart) {
      Pack<T, kPart> pack;
      COSS_UNROLL
      for (int i = 0; i < kPart; ++i) pack.item[i] = from_float<T>(in[part + i]);
      *reinterpret_cast<Pack<T, kPart>*>(p + part) = pack;
    }
  }
}
// Only the first n <= N elements, with any alignment; load_part fills the rest with zeros.
template <int N, class T>
__device__ inline void load_part(const T* p, int n, float (&out)[N]) {
  COSS_UNROLL
  for (int i = 0; i < N; ++i) out[i] = i < n ? to_float(p[i]) : 0.0f;
}
template <int N, class T>
__device__ inline void store_part(T* p, int n, const float (&in)[N]) {
  COSS_UNROLL
  for (int i = 0; i < N; ++i)
    if (i < n) p[i] = from_float<T>(in[i]);
}

// --- sums ----------------------------------------------------------------------------------------------------------

// Every lane gets the sum of the warp's values, added in the same order each time. All 32 lanes call it.
template <class T>
__device__ inline T warp_sum(T value) {
  COSS_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ inline float warp_max(float value) {
  COSS_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// Every thread gets the sum of the block's values. kThreads is the block's size, a multiple of 32; all threads call it.
template <int kThreads, class T>
__device__ inline T block_sum(T value) {
  constexpr int kWarps = kThreads / kWarp;
  COSS_SHARED(T, partial, kWarps);
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = partial[0];
  for (int i = 1; i < kWarps; ++i) total += partial[i];
  __syncthreads();  // partial may be written again
  return total;
}
template <int kThreads>
__device__ inline float block_max(float value) {
  constexpr int kWarps = kThreads / kWarp;
  COSS_SHARED(float, partial, kWarps);
  value = warp_max(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  float greatest = partial[0];
  for (int i = 1; i < kWarps; ++i) greatest = fmaxf(greatest, partial[i]);
  __syncthreads();
  return greatest;
}

#ifndef COSS_CUDA_HOST
// array[i] += value in shared memory; returns the old value.
template <class T>
__device__ inline T shared_add(T* array, int i, T value) {
  return atomicAdd(array + i, value);
}
#endif

// --- activations ---------------------------------------------------------------------------------------------------

// exp may overflow to infinity, which gives 0. An exact division would double the number of instructions.
__device__ inline float sigmoid(float z) { return __fdividef(1.0f, 1.0f + expf(-z)); }
__device__ inline float hardsigmoid(float z) {
  const float shifted = z + 3.0f, positive = shifted < 0 ? 0.0f : shifted;  // keeps NaN
  return (positive > 6 ? 6.0f : positive) * (1.0f / 6);
}
// The cumulative normal distribution.
__device__ inline float normal_below(float z) { return 0.5f + 0.5f * erff(z * 0.70710678f); }

constexpr float kQuickGelu = 1.702f;
template <Activation kAct>
constexpr bool kClips = clips(kAct);

template <Activation kAct>
__device__ inline float activated(float z) {
  if constexpr (kAct == Activation::none) return z;
  if constexpr (kAct == Activation::silu) return z * sigmoid(z);
  if constexpr (kAct == Activation::hardswish) return z * hardsigmoid(z);
  if constexpr (kAct == Activation::sigmoid) return sigmoid(z);
  if constexpr (kAct == Activation::hardsigmoid) return hardsigmoid(z);
  if constexpr (kAct == Activation::gelu) return z * normal_below(z);
  if constexpr (kAct == Activation::quick_gelu) return z * sigmoid(kQuickGelu * z);
  float y = z < 0 ? 0.0f : z;  // keeps NaN
  if constexpr (kAct == Activation::relu6) y = y > 6 ? 6.0f : y;
  return y;
}
// Whether the gradient passes, from the value before an activation that clips. It passes for NaN, as in PyTorch.
template <Activation kAct>
__device__ inline bool passes_gradient(float z) {
  static_assert(kClips<kAct>);
  if constexpr (kAct == Activation::none) return true;
  if constexpr (kAct == Activation::relu6) return !(z <= 0) && !(z >= 6);
  return !(z <= 0);
}
// dy times the slope at the value before the activation.
template <Activation kAct>
__device__ inline float passed_gradient(float z, float dy) {
  if constexpr (kClips<kAct>) {
    return passes_gradient<kAct>(z) ? dy : 0.0f;
  } else if constexpr (kAct == Activation::hardswish) {
    if (z > -3 && z < 3) return dy * (z * (1.0f / 3) + 0.5f);
    return z <= -3 ? 0.0f : dy;
  } else if constexpr (kAct == Activation::hardsigmoid) {
    return z > -3 && z < 3 ? dy * (1.0f / 6) : 0.0f;
  } else if constexpr (kAct == Activation::gelu) {
    return dy * (normal_below(z) + z * 0.39894228f * expf(-0.5f * z * z));
  } else {
    const float s = sigmoid(kAct == Activation::quick_gelu ? kQuickGelu * z : z);
    if constexpr (kAct == Activation::sigmoid) return dy * (s * (1 - s));
    if constexpr (kAct == Activation::silu) return dy * (s + z * s * (1 - s));
    return dy * (s + kQuickGelu * z * s * (1 - s));
  }
}

}  // namespace coss::cuda
