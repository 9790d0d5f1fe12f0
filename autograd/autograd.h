// Var and Tape: reverse-mode differentiation by a list of lambdas that is run backwards.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "engine/kernels.h"

namespace coss {

// Where a gradient is collected. An activation's is filled during backward, in the activation's dtype. A parameter's is
// a view of the flat fp32 gradient buffer, to which kernels add.
struct Grad {
  Tensor value;
  bool is_param = false;
};

// A tensor and where its gradient is collected; a null `grad` means that no gradient is wanted.
struct Var {
  Tensor value;
  std::shared_ptr<Grad> grad;

  Var() = default;
  explicit Var(Tensor tensor, std::shared_ptr<Grad> place = nullptr)
      : value(std::move(tensor)), grad(std::move(place)) {}
  const Shape& shape() const { return value.shape(); }
  bool empty() const { return value.empty(); }
};

// Records backward steps while it is alive, in the thread that made it. Operations run in topological order, so the
// reverse of the recording order is a valid order for backward; no graph search is needed.
class Tape {
 public:
  using Backward = std::function<void(Tensor dy)>;

  Tape() : outer_(active_) { active_ = this; }
  ~Tape() { active_ = outer_; }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // `step` receives the gradient of y once all uses of y have added theirs; it may write in it when dy.unique().
  void record(const Var& y, Backward step) { steps_.push_back({y.grad, std::move(step)}); }
  // Runs the recorded steps in reverse from d(loss) = seed. loss has shape (1). Each step is destroyed as it finishes,
  // so an activation is freed with its last use. A Tape is used once.
  void backward(const Var& loss, double seed = 1);
  // The same with a seed that is on the device, shape (1): the loss scale.
  void backward(const Var& loss, const Tensor& seed);

  static Tape* active() { return active_; }

 private:
  friend struct NoGrad;
  struct Step {
    std::shared_ptr<Grad> out;
    Backward run;
  };
  void run();

  std::vector<Step> steps_;
  Tape* outer_;
  static constinit thread_local Tape* active_;  // constinit: accessed from other files without a guard
};

// While it is alive, no operation is recorded in its thread: the teacher's forward pass.
struct NoGrad {
  NoGrad() { Tape::active_ = nullptr; }
  ~NoGrad() { Tape::active_ = saved_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Tape* saved_ = Tape::active_;
};

// --- helpers for writing operations and losses ---------------------------------------------------------------------

// The result of an operation: it wants a gradient when a tape records and any input wants one.
Var make_output(Tensor value, std::initializer_list<const Var*> inputs);
// Adds g to the gradient of x, if x wants one. It adds in place only when nothing else holds the buffer, so g may be
// given to several Vars. The caller must not write to g afterwards.
void accumulate(const Var& x, const Tensor& g);
// accumulate() for kernels that can add: write(beta, target) computes target = beta * target + gradient. The target is
// a parameter's view of the flat buffer, else a new tensor of x's shape and the given dtype.
void accumulate_with(const Var& x, DType dtype, const std::function<void(float beta, Tensor& target)>& write);
// accumulate() for kernels that add to several gradients at once. begin_sum gives the tensor to add to: a parameter's
// view of the flat buffer, else zeros like x. Give it to end_sum afterwards.
Tensor begin_sum(const Var& x);
void end_sum(const Var& x, const Tensor& sum);
// The backward of a loss (1) whose forward has already computed dx, the gradient of its input x: it multiplies dx by
// the loss's own gradient.
Tape::Backward scaled_gradient(const Var& x, Tensor dx);
// x without its values, for a backward that does not read them: the lambda then does not keep them in memory.
inline Var grad_only(const Var& x) { return Var(Tensor(), x.grad); }

}  // namespace coss
