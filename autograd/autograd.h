// Var and Tape: reverse-mode differentiation by a list of lambdas that is run backwards.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "engine/kernels.h"

namespace coss {

// Where a gradient is collected. For an activation: filled during backward, in the activation's dtype. For a parameter:
// a view of the flat fp32 gradient buffer, to which kernels add.
struct Grad {
  Tensor value;
  bool is_param = false;
};

// A tensor and the place its gradient goes; no place means that no gradient is wanted.
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
  // The same from a seed that lives on the device (the loss scaler's), shape (1).
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

// No operation is recorded in this scope (the teacher's forward pass).
struct NoGrad {
  NoGrad() { Tape::active_ = nullptr; }
  ~NoGrad() { Tape::active_ = saved_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Tape* saved_ = Tape::active_;
};

// --- for the authors of operations and losses --------------------------------------------------------------------

// The result of an operation: it wants a gradient when a tape records and any input wants one.
Var make_output(Tensor value, std::initializer_list<const Var*> inputs);
// Adds g to the gradient of x, if x wants one. Adds in place only when nobody else holds the buffer, so g may be given
// to several Vars; the caller must not write in g afterwards.
void accumulate(const Var& x, const Tensor& g);
// The same for kernels that can add: write(beta, target) computes target = beta * target + gradient. A parameter's
// target is its place in the flat buffer, else a new tensor of x's shape and the given dtype.
void accumulate_with(const Var& x, DType dtype, const std::function<void(float beta, Tensor& target)>& write);
// The same for kernels that add to several gradients at once: where they add (a parameter's place, else zeros like x),
// and what is to be done with it afterwards.
Tensor begin_sum(const Var& x);
void end_sum(const Var& x, const Tensor& sum);
// The backward of a loss (1) whose forward has computed the gradient dx of its input x as well: dx times the loss's.
Tape::Backward scaled_gradient(const Var& x, Tensor dx);
// x without its values: all that a backward needs of an input whose values it does not read.
inline Var grad_only(const Var& x) { return Var(Tensor(), x.grad); }

}  // namespace coss
