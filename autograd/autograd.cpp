// The tape: recording, the reverse run, and the bookkeeping of gradients.
#include "autograd/autograd.h"

namespace coss {

constinit thread_local Tape* Tape::active_ = nullptr;

void Tape::backward(const Var& loss, double seed) {
  const Tensor& value = loss.value;
  Tensor dy(value.shape(), value.dtype(), value.device());
  kernels(dy).fill(context(dy.device()), seed, dy);
  backward(loss, dy);
}

void Tape::backward(const Var& loss, const Tensor& seed) {
  COSS_CHECK(loss.shape() == Shape{1}, "[backward] the loss has shape " + loss.shape().str() + ", not (1)");
  COSS_CHECK(loss.grad, "[backward] the loss was not recorded: no tape was active, or no input wants a gradient");
  COSS_CHECK(seed.shape() == Shape{1} && seed.dtype() == loss.value.dtype(),
             "[backward] the seed must have the loss's shape and dtype");
  loss.grad->value = seed;
  run();
}

void Tape::run() {
  const NoGrad guard;
  while (!steps_.empty()) {
    Step step = std::move(steps_.back());
    steps_.pop_back();
    Tensor dy = std::move(step.out->value);
    step.out->value = Tensor();
    if (!dy.empty()) step.run(std::move(dy));
  }
}

Var make_output(Tensor value, std::initializer_list<const Var*> inputs) {
  Var y(std::move(value));
  if (!Tape::active()) return y;
  for (const Var* input : inputs) {
    if (input->grad) {
      y.grad = std::make_shared<Grad>();
      break;
    }
  }
  return y;
}

void accumulate(const Var& x, const Tensor& g) {
  if (!x.grad) return;
  Tensor& sum = x.grad->value;
  Context& ctx = context(g.device());
  if (x.grad->is_param) {
    kernels(g).axpy(ctx, 1, g, sum);
  } else if (sum.empty()) {
    sum = g;
  } else if (sum.unique()) {
    kernels(g).add(ctx, sum, g, sum);
  } else {
    Tensor fresh(g.shape(), g.dtype(), g.device());
    kernels(g).add(ctx, sum, g, fresh);
    sum = fresh;
  }
}

void accumulate_with(const Var& x, DType dtype, const std::function<void(float beta, Tensor& target)>& write) {
  if (!x.grad) return;
  if (x.grad->is_param) {
    write(1, x.grad->value);
  } else {
    Tensor g(x.shape(), dtype, x.value.device());
    write(0, g);
    accumulate(x, g);
  }
}

Tensor begin_sum(const Var& x) {
  if (x.grad && x.grad->is_param) return x.grad->value;
  Tensor zeros(x.shape(), x.value.dtype(), x.value.device());
  kernels(zeros).fill(context(zeros.device()), 0, zeros);
  return zeros;
}

void end_sum(const Var& x, const Tensor& sum) {
  if (x.grad && !x.grad->is_param) accumulate(x, sum);
}

Tape::Backward scaled_gradient(const Var& x, Tensor dx) {
  return [x = grad_only(x), dx = std::move(dx)](const Tensor& dy) mutable {
    kernels(dx).scale(context(dx.device()), dy, dx);
    accumulate(x, dx);
  };
}

}  // namespace coss
