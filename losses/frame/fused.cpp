// Sums and lists of loss terms; the mean squared difference.
#include "losses/frame/fused.h"

#include <algorithm>

#include "autograd/ops.h"

namespace coss {

LossTerms joined(const Var& total, std::initializer_list<Tensor> parts) {
  const Device device = total.value.device();
  const auto there = std::count_if(parts.begin(), parts.end(), [](const Tensor& part) { return !part.empty(); });
  Tensor values({int64_t(there) + 1}, total.value.dtype(), device);
  int64_t at = 0;
  const auto put = [&](const Tensor& value) {
    Tensor place = values.view(at++, {1});
    kernels(device).cast(context(device), value, place);
  };
  put(total.value);
  for (const Tensor& part : parts)
    if (!part.empty()) put(part);
  return {total, values};
}

Var weighted_sum(std::initializer_list<std::pair<float, Var>> losses) {
  Var sum;
  for (const auto& [weight, loss] : losses) {
    if (loss.empty()) continue;
    const Var part = weight == 1 ? loss : scale(loss, weight);
    sum = sum.empty() ? part : add(sum, part);
  }
  return sum;
}

LossTerms mse_loss(const char* loss, const Var& student, const Tensor& teacher) {
  check_alike(loss, student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& total, Tensor& dstudent) {
    kernels(total).mse_loss(context(total.device()), student.value, teacher, total, dstudent);
  });
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
