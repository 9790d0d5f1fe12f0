// The norm of the gradient over the flat ranges, on the device: nothing is read on the host.
#pragma once
#include "layers/params.h"

namespace coss {

// Gives |gradient|^2 of all trainable parameters, before kGradScale. square_sum: (1) in the masters' dtype.
void grad_square_sum(Params& params, Tensor& square_sum);

}  // namespace coss
