// Clipping by the norm of all gradients, read on the device.
#include "layers/grad_norm.h"

namespace coss {

void grad_square_sum(Params& params, Tensor& square_sum) {
  Context& ctx = context(params.device());
  kernels(params.device()).sum_squares(ctx, 0, params.weights().grad, square_sum);
  kernels(params.device()).sum_squares(ctx, 1, params.rest().grad, square_sum);
}

void clip_gradients(Params& params, float max_norm, Tensor& square_sum, Tensor& scalars) {
  grad_square_sum(params, square_sum);
  kernels(params.device()).clip_scale(context(params.device()), max_norm, square_sum, scalars);
}

}  // namespace coss
