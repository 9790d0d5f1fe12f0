// Kernels that give value and gradient in one call become operations on the tape; sums and lists of losses.
#pragma once
#include <initializer_list>
#include <vector>

#include "losses/method.h"

namespace coss {

// call(values, dx) fills the `terms` values, the total first, in the accumulator's dtype, and the gradient of x.
template <class Call>
LossTerms fused_loss(const Var& x, int64_t terms, const Call& call) {
  const Device device = x.value.device();
  Tensor values({terms}, accumulator_of(x.value.dtype()), device), dx(x.shape(), x.value.dtype(), device);
  call(values, dx);
  Var total = make_output(values.view(0, {1}), {&x});
  if (total.grad) Tape::active()->record(total, scaled_gradient(x, dx));
  return {total, values};
}

// The same with gradients of two inputs: call(values, da, db).
template <class Call>
LossTerms fused_loss(const Var& a, const Var& b, int64_t terms, const Call& call) {
  const Device device = a.value.device();
  Tensor values({terms}, accumulator_of(a.value.dtype()), device);
  Tensor da(a.shape(), a.value.dtype(), device), db(b.shape(), b.value.dtype(), device);
  call(values, da, db);
  Var total = make_output(values.view(0, {1}), {&a, &b});
  if (total.grad)
    Tape::active()->record(total, [of_a = scaled_gradient(a, da), of_b = scaled_gradient(b, db)](Tensor dy) {
      of_a(dy);
      of_b(dy);
    });
  return {total, values};
}

// A total of several losses, followed by their values. Each of `parts` has one element; empty ones are left out.
LossTerms joined(const Var& total, std::initializer_list<Tensor> parts);
// Weighted sum of losses of one element each; empty ones are left out.
Var weighted_sum(std::initializer_list<std::pair<float, Var>> losses);

// Mean of the squared differences: student, teacher of one shape and compute dtype. values: {total}. `loss` names the
// caller in the Error for shapes or dtypes that differ.
LossTerms mse_loss(const char* loss, const Var& student, const Tensor& teacher);

// Throws Error unless both have the same shape and dtype, naming the loss.
void check_alike(const char* loss, const Tensor& student, const Tensor& teacher);

}  // namespace coss
