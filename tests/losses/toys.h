// A toy network and all that a method needs around it, small enough to test the derivative by every parameter.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/linear.h"
#include "losses/method.h"

namespace coss::test {

struct ToyShape {
  int64_t width = 5, classes = 4;  // classes 0: no classifier
  int64_t window = 1;              // the first stage's size over the second's
};

// Two stages, a linear layer per pixel each, the first of about half the channels; the mean of the second is the
// features.
class Toy : public Network {
 public:
  Toy(const Scope& scope, const ToyShape& shape);
  Var features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) override;
  Var logits(const Var& features, Mode mode, const Tensor& step) override;

 private:
  int64_t window_;
  Linear first_, second_;
  std::optional<Linear> classifier_;
};

// The method's defaults, with small widths, and then the given values.
MethodOptions options_of(const std::string& method, const std::map<std::string, double>& changed = {});
constexpr int64_t kToyDim = 5;  // what options_of sets for the width of a teacher's head

struct ToyOptions {
  int64_t width = 5, teacher_width = 7;
  int64_t classes = 4, teacher_classes = 4;
  int64_t window = 2, teacher_window = 2;
  int64_t teacher_head = kToyDim;
  Device device = Device::reference;
  DType dtype = DType::f64;
  int64_t batch = 6, size = 2;  // images in a batch, pixels on a side
  int64_t nearest = 1;          // where the method needs neighbors
  int64_t images = 12;          // of the training data; no multiple of 5
  int64_t steps_per_epoch = 10, total_steps = 200;
};

// A method between two toy networks, ready for its first batch.
struct Toys {
  Params student_params, teacher_params;
  Toy student, teacher;
  Linear teacher_head;
  MethodParts parts;
  std::unique_ptr<Method> method;
  StepInputs inputs;

  explicit Toys(const MethodOptions& method_options, const ToyOptions& options = {});

  void set_step(int64_t step);
  // The terms of the next step. Queues and banks change with it.
  std::vector<double> terms();
  void keep();     // remembers the state of the method
  void restore();  // goes back to it
  // Each of these runs the same step: the state is put back to what it was after the first batch.
  LossTerms forward();
  double total();
  void backward();
  // The greatest error of the gradient of the total by `params`, against differences.
  double error_of_gradient(Params& params);
  double error_of_gradient() { return error_of_gradient(student_params); }

 private:
  std::optional<std::vector<std::vector<uint8_t>>> kept_;
};

}  // namespace coss::test
