// CoSS: the loss as one operation, and the method around it.
#include "losses/coss.h"

#include "autograd/ops.h"

namespace coss {

LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher) {
  COSS_CHECK(student.shape().rank == 2 && student.shape() == teacher.shape(),
             "[coss] student features are " + student.shape().str() + ", teacher features " + teacher.shape().str());
  COSS_CHECK(student.value.dtype() == teacher.dtype(), std::string("[coss] student features are ") +
                                                           name_of(student.value.dtype()) + ", teacher features " +
                                                           name_of(teacher.dtype()));
  const Device device = teacher.device();
  Tensor values({3}, accumulator_of(teacher.dtype()), device);
  Tensor dstudent(student.shape(), teacher.dtype(), device);
  kernels(device).coss_loss(context(device), params, student.value, teacher, values, dstudent);
  Var total = make_output(values.view(0, {1}), {&student});
  if (total.grad) Tape::active()->record(total, scaled_gradient(student, dstudent));
  return {total, values};
}

CossMethod::CossMethod(const MethodOptions& options, const Scope& scope, Network& student, Network& teacher)
    : loss_{.scale = 1 / (options.student_temperature * options.teacher_temperature),
            .row_weight = options.row_weight,
            .column_weight = options.column_weight},
      student_(student),
      teacher_(teacher) {
  COSS_CHECK(options.student_temperature > 0 && options.teacher_temperature > 0,
             "the temperatures of CoSS must be positive");
  if (student.feature_width == teacher.feature_width) return;
  COSS_CHECK(options.head_hidden > 0, "the hidden width of the student's head must be positive");
  head_in_ = std::make_unique<Linear>(scope / "head", "0", LinearOptions(student.feature_width, options.head_hidden));
  head_out_ = std::make_unique<Linear>(scope / "head", "2", LinearOptions(options.head_hidden, teacher.feature_width));
}

LossTerms CossMethod::forward(const StepInputs& inputs) {
  Var target;
  {
    const NoGrad guard;
    target = teacher_.features(Var(inputs.images), Mode::eval);
  }
  Var features = student_.features(Var(inputs.images), Mode::train, inputs.step);
  if (head_in_) features = (*head_out_)(relu((*head_in_)(features)));
  return coss_loss(loss_, widened(features), widened(target).value);
}

}  // namespace coss
