// Weights of losses that change from update to update, computed on the device from StepInputs::step. (A number from the
// host would stay in a recorded step as it was at the recording.) All have one element.
#pragma once
#include "autograd/autograd.h"

namespace coss {

// 1 in the first `steps` updates, then 0. dtype: an accumulator's.
Tensor while_below(const Tensor& step, double steps, DType dtype);
// min(1, first + step / steps)
Tensor ramp(const Tensor& step, double first, double steps, DType dtype);
// (1 + cos(pi * step / steps)) / 2: from 1 to 0 in `steps` updates; the error is about 1e-7.
Tensor half_cosine(const Tensor& step, double steps, DType dtype);
// factor * x + offset
Tensor straight(double factor, const Tensor& x, double offset);
// x (1) times a number on the device.
Var times(const Var& x, const Tensor& factor);

}  // namespace coss
