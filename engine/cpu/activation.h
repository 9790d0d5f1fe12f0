// The activations on vectors, and the step from a run-time Activation to a template argument.
#pragma once
#include "engine/cpu/simd.h"
#include "engine/kernel_params.h"

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

// body.operator()<kAct>()
template <class Body>
void dispatch(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::none:
      return body.template operator()<Activation::none>();
    case Activation::relu:
      return body.template operator()<Activation::relu>();
    case Activation::relu6:
      return body.template operator()<Activation::relu6>();
  }
}

}  // namespace coss::cpu
