// Contrast with a queue, of the reference backend: every logit of a row, own pair first, then softmax by softmax.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// The logits of row r: with its own partner, where there is one, then with every row of the queue.
std::vector<double> logits(const Tensor& rows, const Tensor& own, const Tensor& queue, int64_t r, double temperature) {
  const int64_t width = rows.shape()[1];
  std::vector<double> result;
  const auto add = [&](const double* partner) {
    double product = 0;
    for (int64_t d = 0; d < width; ++d) product += in(rows)[r * width + d] * partner[d];
    result.push_back(product / temperature);
  };
  if (!own.empty()) add(in(own) + r * width);
  for (int64_t k = 0; k < queue.shape()[0]; ++k) add(in(queue) + k * width);
  return result;
}

std::vector<double> log_softmax(std::vector<double> x) {
  const double greatest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double value : x) sum += std::exp(value - greatest);
  for (double& value : x) value -= greatest + std::log(sum);
  return x;
}

}  // namespace

void queue_contrast(Context&, const QueueContrastParams& p, const Tensor& student, const Tensor& own_student,
                    const Tensor& student_queue, const Tensor& teacher, const Tensor& own_teacher,
                    const Tensor& teacher_queue, Tensor& loss, Tensor& dstudent) {
  const int64_t rows = student.shape()[0], width = student.shape()[1];
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<double> guess =
        log_softmax(logits(student, own_student, student_queue, r, double(p.student_temperature)));
    std::vector<double> target(guess.size(), 0), log_target(guess.size(), 0);
    target[0] = 1;
    if (!teacher.empty()) {
      log_target = log_softmax(logits(teacher, own_teacher, teacher_queue, r, double(p.teacher_temperature)));
      for (size_t j = 0; j < target.size(); ++j) target[j] = std::exp(log_target[j]);
    }
    double* gradient = out(dstudent) + r * width;
    std::fill_n(gradient, width, 0.0);
    for (size_t j = 0; j < guess.size(); ++j) {
      total += target[j] * ((p.divergence ? log_target[j] : 0) - guess[j]);
      const bool own = j == 0 && !own_student.empty();
      const double* partner =
          own ? in(own_student) + r * width : in(student_queue) + (int64_t(j) - !own_student.empty()) * width;
      const double factor = (std::exp(guess[j]) - target[j]) / (double(p.student_temperature) * double(rows));
      for (int64_t d = 0; d < width; ++d) gradient[d] += factor * partner[d];
    }
  }
  out(loss)[0] = total / double(rows);
}

void queue_push(Context&, const Tensor& rows, Tensor& cursor, Tensor& queue) {
  const int64_t count = rows.shape()[0], width = rows.shape()[1], size = queue.shape()[0];
  int64_t& at = cursor.mutable_data<int64_t>()[0];
  double* to = out(queue);
  for (int64_t r = 0; r < count; ++r) std::copy_n(in(rows) + r * width, width, to + (at + r) % size * width);
  at += count;
}

}  // namespace coss::reference
