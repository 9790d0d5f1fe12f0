// Pooling, and the parameter-free shortcut of the CIFAR ResNets.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {
namespace {

void check_image(const char* op, const Var& x) {
  COSS_CHECK(x.shape().rank == 4, std::string("[") + op + "] input " + x.shape().str() + " is not (N,H,W,C)");
}

}  // namespace

Var max_pool(const PoolParams& p, const Var& x) {
  check_image("max_pool", x);
  COSS_CHECK(p.window * p.window <= 256 && 2 * p.pad <= p.window,
             "[max_pool] windows are at most 16 wide, padding at most half of that");
  const Shape shape{x.shape()[0], p.out_size(x.shape()[1]), p.out_size(x.shape()[2]), x.shape()[3]};
  COSS_CHECK(shape[1] > 0 && shape[2] > 0, "[max_pool] input " + x.shape().str() + " is smaller than the window");
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(shape, x.value.dtype(), ctx.device()), {&x});
  Tensor index(shape, DType::u8, ctx.device());
  kernels(x.value).max_pool_forward(ctx, p, x.value, y.value, index);
  note(node::MaxPool{p}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [p, x = grad_only(x), x_shape = x.shape(), index](const Tensor& dy) {
      Tensor dx(x_shape, dy.dtype(), dy.device());
      kernels(dy).max_pool_backward(context(dy.device()), p, dy, index, dx);
      accumulate(x, dx);
    });
  return y;
}

Var avg_pool(const PoolParams& p, const Var& x) {
  check_image("avg_pool", x);
  COSS_CHECK(p.window >= 1 && p.stride >= 1 && p.pad >= 0 && 2 * p.pad <= p.window && !p.ceil,
             "[avg_pool] window and stride are at least 1, no window ends outside, padding at most half the window");
  COSS_CHECK(std::min(x.shape()[1], x.shape()[2]) + 2 * p.pad >= p.window,
             "[avg_pool] input " + x.shape().str() + " is smaller than the window");
  const Shape shape{x.shape()[0], p.out_size(x.shape()[1]), p.out_size(x.shape()[2]), x.shape()[3]};
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(shape, x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).avg_pool_forward(ctx, p, x.value, y.value);
  note(node::AvgPool{p}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [p, x = grad_only(x), x_shape = x.shape()](const Tensor& dy) {
      Tensor dx(x_shape, dy.dtype(), dy.device());
      kernels(dy).avg_pool_backward(context(dy.device()), p, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var mean_hw(const Var& x) {
  check_image("mean_hw", x);
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor({x.shape()[0], x.shape()[3]}, x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).mean_hw_forward(ctx, x.value, y.value);
  note(node::MeanHw{}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [x = grad_only(x), x_shape = x.shape()](const Tensor& dy) {
      Tensor dx(x_shape, dy.dtype(), dy.device());
      kernels(dy).mean_hw_backward(context(dy.device()), dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var shortcut_a(int64_t stride, int64_t channels, const Var& x) {
  check_image("shortcut_a", x);
  const int64_t in = x.shape()[3];
  COSS_CHECK(stride >= 1 && channels >= in && (channels - in) % 2 == 0,
             "[shortcut_a] cannot pad " + std::to_string(in) + " channels evenly to " + std::to_string(channels));
  const int64_t before = (channels - in) / 2;
  const Shape shape{x.shape()[0], (x.shape()[1] + stride - 1) / stride, (x.shape()[2] + stride - 1) / stride, channels};
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(shape, x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).shortcut_a_forward(ctx, stride, before, x.value, y.value);
  note(node::ShortcutA{stride, before}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [stride, before, x = grad_only(x), x_shape = x.shape()](const Tensor& dy) {
      Tensor dx(x_shape, dy.dtype(), dy.device());
      kernels(dy).shortcut_a_backward(context(dy.device()), stride, before, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

}  // namespace coss
