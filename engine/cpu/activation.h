// The activations on vectors.
#pragma once
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"

namespace coss::cpu {

template <Activation kAct>
inline Vec activated(Vec z) {
  if constexpr (kAct != Activation::none) z = at_least(Vec{}, z);  // keeps NaN
  if constexpr (kAct == Activation::relu6) z = at_most(broadcast(6), z);
  return z;
}

// The lanes where the gradient passes; z is the activation's input or output. Not for Activation::none.
template <Activation kAct>
inline LaneBits passes_gradient(Vec z) {
  LaneBits bits = less(Vec{}, z);
  if constexpr (kAct == Activation::relu6) bits &= less(z, broadcast(6));
  return bits;
}

}  // namespace coss::cpu
