// Convolution, for training, and with bias, residual and activation as its epilogue, for frozen networks.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {
namespace {

// Checks all that a caller can get wrong, and returns the output's shape.
Shape checked_output(const char* op, const ConvParams& p, const Tensor& x, const Tensor& w) {
  const std::string name = std::string("[") + op + "] ";
  COSS_CHECK(x.shape().rank == 4, name + "input " + x.shape().str() + " is not (N,H,W,C)");
  COSS_CHECK(w.shape().rank == (p.depthwise ? 3 : 4),
             name + "weight " + w.shape().str() + (p.depthwise ? " is not (R,S,C)" : " is not (K,R,S,C/groups)"));
  COSS_CHECK(x.dtype() == w.dtype(), name + "input is " + name_of(x.dtype()) + ", weight is " + name_of(w.dtype()));
  const int64_t expected = p.depthwise ? w.shape()[2] : w.shape()[3] * p.groups;
  COSS_CHECK(x.shape()[3] == expected, name + "input has " + std::to_string(x.shape()[3]) +
                                           " channels, weight expects " + std::to_string(expected));
  const int first = p.depthwise ? 0 : 1;
  const int64_t channels = p.depthwise ? w.shape()[2] : w.shape()[0];
  COSS_CHECK(
      p.depthwise || channels % p.groups == 0,
      name + std::to_string(channels) + " output channels do not divide into " + std::to_string(p.groups) + " groups");
  COSS_CHECK(!p.same || p.pad == 0, name + "SAME padding follows from the sizes: it takes no width of its own");
  const int64_t height = p.out_size(x.shape()[1], w.shape()[first]);
  const int64_t width = p.out_size(x.shape()[2], w.shape()[first + 1]);
  COSS_CHECK(height > 0 && width > 0,
             name + "input " + x.shape().str() + " is smaller than the window of weight " + w.shape().str());
  return {x.shape()[0], height, width, channels};
}

}  // namespace

Var conv2d(const ConvParams& p, const Var& x, const Var& w, const Var& bias) {
  const Shape shape = checked_output("conv2d", p, x.value, w.value);
  Context& ctx = context(x.value.device());
  COSS_CHECK(bias.empty() || bias.shape() == Shape{shape.back()},
             "[conv2d] bias " + bias.shape().str() + " does not fit weight " + w.shape().str());
  Var y = make_output(Tensor(shape, x.value.dtype(), ctx.device()), {&x, &w, &bias});
  if (bias.empty()) {
    kernels(x.value).conv2d_forward(ctx, p, x.value, w.value, y.value);
  } else {
    kernels(x.value).conv2d_bias_act(ctx, p, Activation::none, x.value, w.value, bias.value, {}, y.value);
  }
  if (y.grad)
    Tape::active()->record(y, [p, x, w, bias = grad_only(bias)](const Tensor& dy) {
      Context& on = context(dy.device());
      accumulate_with(w, accumulator_of(dy.dtype()),
                      [&](float beta, Tensor& dw) { kernels(dy).conv2d_wgrad(on, p, x.value, dy, beta, dw); });
      if (x.grad) {
        Tensor dx(x.shape(), dy.dtype(), dy.device());
        kernels(dy).conv2d_dgrad(on, p, w.value, dy, dx);
        accumulate(x, dx);
      }
      accumulate_with(bias, accumulator_of(dy.dtype()), [&](float beta, Tensor& db) {
        kernels(dy).sum_rows(on, beta, dy.reshape({dy.shape().rows(), dy.shape().back()}), db);
      });
    });
  return y;
}

Tensor conv2d_bias_act(const ConvParams& p, Activation act, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Tensor& residual) {
  const Shape shape = checked_output("conv2d_bias_act", p, x, w);
  COSS_CHECK(bias.shape() == Shape{shape.back()},
             "[conv2d_bias_act] bias " + bias.shape().str() + " does not fit weight " + w.shape().str());
  COSS_CHECK(residual.empty() || residual.shape() == shape,
             "[conv2d_bias_act] residual " + residual.shape().str() + " is not shaped like the output " + shape.str());
  Tensor y(shape, x.dtype(), x.device());
  kernels(x).conv2d_bias_act(context(x.device()), p, act, x, w, bias, residual, y);
  note(node::Conv{p, act}, {x, w, bias, residual}, y);
  return y;
}

}  // namespace coss
