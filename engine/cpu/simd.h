// Sixteen floats at a time: the vector layer of the CPU kernels.
//
// Vec is a GCC/clang vector type, so + - * / and comparisons are the compiler's and every instruction set works; only
// what the compiler does not find by itself (16-bit conversions, lane masks, streaming stores) has an AVX-512 branch.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/types.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define COSS_AVX512 1
#endif
// Every function here is inline, so it does not matter how a wide vector is passed between object files.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace coss::cpu {

constexpr int kLanes = 16;
typedef float Vec __attribute__((vector_size(64)));
typedef int32_t VecI __attribute__((vector_size(64)));
typedef uint32_t VecU __attribute__((vector_size(64)));
typedef uint16_t VecH __attribute__((vector_size(32)));
typedef uint8_t VecB __attribute__((vector_size(16)));
using LaneBits = uint16_t;  // bit i belongs to lane i
// g++ 12 warns of an uninitialized operand inside the unmasked forms of some intrinsics; the masked ones are the same
// code.
constexpr LaneBits kAllLanes = 0xffff;

inline Vec broadcast(float value) { return Vec{} + value; }

// --- load and store: 16 elements at p, of any alignment ------------------------------------------------------------

template <class V>
inline V load_raw(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}

// Rounds to nearest even and keeps NaN, as bf16(float) does.
inline VecH to_bf16(Vec v) {
#ifdef __AVX512BF16__
  return (VecH)_mm512_cvtneps_pbh((__m512)v);
#else
  const VecU word = (VecU)v;
  const VecU rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  return __builtin_convertvector(((VecU)(v == v) & rounded) | ((VecU)(v != v) & ((word >> 16) | 0x40u)), VecH);
#endif
}

inline Vec load(const float* p) { return load_raw<Vec>(p); }
inline Vec load(const bf16* p) { return (Vec)(__builtin_convertvector(load_raw<VecH>(p), VecU) << 16); }
inline Vec load(const f16* p) {
#ifdef __AVX512F__
  return (Vec)_mm512_maskz_cvtph_ps(kAllLanes, load_raw<__m256i>(p));
#else
  Vec v{};
  for (int i = 0; i < kLanes; ++i) v[i] = float(p[i]);
  return v;
#endif
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof(v)); }
inline void store(bf16* p, Vec v) {
  const VecH half = to_bf16(v);
  std::memcpy(static_cast<void*>(p), &half, sizeof(half));
}
inline void store(f16* p, Vec v) {
#ifdef __AVX512F__
  const __m256i half = _mm512_maskz_cvtps_ph(kAllLanes, (__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  std::memcpy(static_cast<void*>(p), &half, sizeof(half));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = f16(v[i]);
#endif
}
inline void store(uint8_t* p, VecI v) {
  const VecB bytes = __builtin_convertvector(v, VecB);
  std::memcpy(p, &bytes, sizeof(bytes));
}
inline VecI load_bytes(const uint8_t* p) {
#ifdef __AVX512F__  // g++ 12 would convert byte by byte (and warns of the unmasked intrinsic)
  return (VecI)_mm512_maskz_cvtepu8_epi32(0xffff, load_raw<__m128i>(p));
#else
  return __builtin_convertvector(load_raw<VecB>(p), VecI);
#endif
}

// Only the first n < 16 elements, for the end of a tensor. The other lanes are zero.
template <class T>
inline Vec load_part(const T* p, int64_t n) {
  T buffer[kLanes] = {};
  std::memcpy(static_cast<void*>(buffer), p, size_t(n) * sizeof(T));
  return load(buffer);
}
template <class T, class V>
inline void store_part(T* p, V v, int64_t n) {
  T buffer[kLanes];
  store(buffer, v);
  std::memcpy(static_cast<void*>(p), buffer, size_t(n) * sizeof(T));
}

// Calls whole(i, 16) for every full vector of [begin, end) and the same with fewer elements for what is left; `n` is a
// compile-time constant in the first case, so one body written with get and put serves both.
struct Whole {
  constexpr operator int64_t() const { return kLanes; }
};
template <class T>
inline Vec get(const T* p, Whole) {
  return load(p);
}
template <class T>
inline Vec get(const T* p, int64_t n) {
  return load_part(p, n);
}
template <class T, class V>
inline void put(T* p, V v, Whole) {
  store(p, v);
}
template <class T, class V>
inline void put(T* p, V v, int64_t n) {
  store_part(p, v, n);
}
inline VecI get_bytes(const uint8_t* p, Whole) { return load_bytes(p); }
inline VecI get_bytes(const uint8_t* p, int64_t n) {
  uint8_t buffer[kLanes] = {};
  std::memcpy(buffer, p, size_t(n));
  return load_bytes(buffer);
}
template <class Body>
inline void for_vectors(int64_t begin, int64_t end, Body&& body) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, Whole{});
  if (i < end) body(i, end - i);
}

// Prefetches the cache lines of p[0, n); addresses outside of any tensor do no harm.
template <class T>
inline void prefetch(const T* p, int64_t n) {
  for (int64_t i = 0; i < n; i += int64_t(64 / sizeof(T))) __builtin_prefetch(p + i);
}

// A non-temporal store, which writes past the caches (nontemporal.h); p is aligned to 64 bytes (f32) or 32. Call
// stream_fence() after the last one.
#ifdef __AVX512F__
inline void stream(float* p, Vec v) { _mm512_stream_ps(p, (__m512)v); }
template <class T>
inline void stream(T* p, Vec v) {
  T half[kLanes];
  store(half, v);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), load_raw<__m256i>(half));
}
inline void stream_fence() { _mm_sfence(); }
#else
template <class T>
inline void stream(T* p, Vec v) {
  store(p, v);
}
inline void stream_fence() {}
#endif

// --- lane masks ----------------------------------------------------------------------------------------------------

#ifdef COSS_AVX512
inline LaneBits less(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
inline LaneBits not_above(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ); }
inline LaneBits is_nan(Vec v) { return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q); }
inline LaneBits equal(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ); }
inline LaneBits equal(VecI a, VecI b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
inline VecI lane_truth(LaneBits bits) { return (VecI)_mm512_movm_epi32(bits); }
#else
inline LaneBits lane_bits(VecI truth) {
  unsigned bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (unsigned(truth[i]) & 1u) << i;
  return LaneBits(bits);
}
inline VecI lane_truth(LaneBits bits) {
  const VecI lane = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return ((VecI{} + int32_t(bits)) & lane) != 0;
}
inline LaneBits less(Vec a, Vec b) { return lane_bits((VecI)(a < b)); }
inline LaneBits not_above(Vec a, Vec b) { return lane_bits((VecI)(a <= b)); }
inline LaneBits is_nan(Vec v) { return lane_bits((VecI)(v != v)); }
inline LaneBits equal(Vec a, Vec b) { return lane_bits((VecI)(a == b)); }
inline LaneBits equal(VecI a, VecI b) { return lane_bits(a == b); }
#endif
// Uses bitwise operations, not masked moves: the compiler would merge those with a load, and masked loads are slow.
inline VecI select(LaneBits bits, VecI yes, VecI no) {
  const VecI truth = lane_truth(bits);
  return (truth & yes) | (~truth & no);
}
inline Vec select(LaneBits bits, Vec yes, Vec no) { return (Vec)select(bits, (VecI)yes, (VecI)no); }
inline Vec keep(LaneBits bits, Vec v) { return (Vec)(lane_truth(bits) & (VecI)v); }
// The lanes that hold n elements.
inline LaneBits first_lanes(Whole) { return kAllLanes; }
inline LaneBits first_lanes(int64_t n) { return LaneBits((1u << n) - 1); }

// --- functions -----------------------------------------------------------------------------------------------------

// Like std::max(floor, v), but a NaN in v stays.
inline Vec at_least(Vec floor, Vec v) {
  return (Vec)(((VecI)(v < floor) & (VecI)floor) | (~(VecI)(v < floor) & (VecI)v));
}
inline Vec at_most(Vec ceiling, Vec v) {
  return (Vec)(((VecI)(ceiling < v) & (VecI)ceiling) | (~(VecI)(ceiling < v) & (VecI)v));
}

// The larger one; where either is NaN, b.
inline Vec larger(Vec a, Vec b) {
#ifdef COSS_AVX512
  return (Vec)_mm512_maskz_max_ps(kAllLanes, (__m512)a, (__m512)b);
#else
  const VecI first = (VecI)(a > b);
  return (Vec)((first & (VecI)a) | (~first & (VecI)b));
#endif
}

inline Vec sqrt(Vec v) {
  for (int i = 0; i < kLanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
}

// e^v for v < 88, to about one unit in the last place: 2^n * e^r with |r| <= ln 2 / 2 and e^r by its Taylor polynomial.
inline Vec exp(Vec v) {
  const Vec clamped = at_most(broadcast(88.7f), at_least(broadcast(-87.3f), v));
  const Vec magic = broadcast(0x1.8p23f);  // adding it rounds to an integer
  const Vec shifted = clamped * 1.44269504f + magic;
  const Vec n = shifted - magic;
  const Vec r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = broadcast(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const VecI exponent = ((VecI)shifted - std::bit_cast<int32_t>(0x1.8p23f)) << 23;
  const Vec value = (Vec)((VecI)p + exponent);
  return select(less(v, broadcast(-87.3f)), Vec{}, select(is_nan(v), v, value));
}

inline double sum(Vec v) {
  double total = 0;
  for (int i = 0; i < kLanes; ++i) total += double(v[i]);
  return total;
}
inline float max(Vec v) {  // NaN when a lane is NaN
  float best = v[0];
  for (int i = 1; i < kLanes; ++i) best = v[i] > best || v[i] != v[i] ? v[i] : best;
  return best;
}

}  // namespace coss::cpu
