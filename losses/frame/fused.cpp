// Sums and lists of loss terms.
#include "losses/frame/fused.h"

#include "autograd/ops.h"

namespace coss {

LossTerms joined(const Var& total, std::initializer_list<Tensor> parts) {
  const Device device = total.value.device();
  Tensor values({int64_t(parts.size()) + 1}, total.value.dtype(), device);
  int64_t at = 0;
  const auto put = [&](const Tensor& value) {
    Tensor place = values.view(at++, {1});
    kernels(device).cast(context(device), value, place);
  };
  put(total.value);
  for (const Tensor& part : parts) put(part);
  return {total, values};
}

Var weighted_sum(std::initializer_list<std::pair<float, Var>> losses) {
  Var sum;
  for (const auto& [weight, loss] : losses) {
    const Var part = weight == 1 ? loss : scale(loss, weight);
    sum = sum.empty() ? part : add(sum, part);
  }
  return sum;
}

void check_alike(const char* loss, const Tensor& student, const Tensor& teacher) {
  COSS_CHECK(student.shape() == teacher.shape(), std::string("[") + loss + "] the student's is " +
                                                     student.shape().str() + ", the teacher's " +
                                                     teacher.shape().str());
  COSS_CHECK(student.dtype() == teacher.dtype(), std::string("[") + loss + "] the student's is " +
                                                     name_of(student.dtype()) + ", the teacher's " +
                                                     name_of(teacher.dtype()));
}

}  // namespace coss
