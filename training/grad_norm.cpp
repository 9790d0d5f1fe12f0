// One kernel for each range; both add to the same sum.
#include "training/grad_norm.h"

namespace coss {

void grad_square_sum(Params& params, Tensor& square_sum) {
  Context& ctx = context(params.device());
  kernels(params.device()).sum_squares(ctx, 0, params.weights().grad, square_sum);
  kernels(params.device()).sum_squares(ctx, 1, params.rest().grad, square_sum);
}

}  // namespace coss
