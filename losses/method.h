// Method: what one paper needs to train a student, apart from the optimizer, the loop and the files.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/network.h"

namespace coss {

// What a step gives to a method; all on the device.
struct StepInputs {
  Tensor images;  // (N,H,W,3) compute dtype, normalised
  Tensor labels;  // (N) i32; -1 where there is none
  Tensor step;    // i64 (1): updates so far, for dropout
};

struct LossTerms {
  Var total;      // (1) A, on the tape
  Tensor values;  // (T) A: the terms in the order of Method::term_names(), the total first
};

class Method {
 public:
  virtual ~Method() = default;
  virtual LossTerms forward(const StepInputs& inputs) = 0;
  virtual std::vector<std::string> term_names() const = 0;
};

// Options that methods read; each has its place in the recipe under `method.`.
struct MethodOptions {
  std::string name = "coss";
  float student_temperature = 0.1f, teacher_temperature = 0.07f;  // loss scale = 1 / (product)
  float row_weight = 1, column_weight = 1;                        // l_0, l_1
  int64_t head_hidden = 2048;                                     // width of the student head's hidden layer
};

struct MethodInfo {
  const char* name;
  const char* paper;
  bool needs_teacher, needs_labels;
  // The student's parameters are registered under `scope` / "student"; heads beside it. teacher is null when not
  // needed.
  std::function<std::unique_ptr<Method>(const MethodOptions&, const Scope& scope, Network& student, Network* teacher)>
      make;
};

const std::vector<MethodInfo>& methods();
const MethodInfo& find_method(const std::string& name);

}  // namespace coss
