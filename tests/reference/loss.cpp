// Losses of the reference backend: value and gradient.
#include "tests/reference/access.h"

namespace coss::reference {

void cross_entropy(Context&, const Tensor& logits, const Tensor& labels, Tensor& loss, Tensor& dlogits) {
  const int64_t rows = logits.shape().rows(), classes = logits.shape().back();
  const int32_t* label = labels.data<int32_t>();
  // The mean is over the rows that have a label; without any, the loss is zero.
  const double counted =
      double(std::max<int64_t>(1, std::count_if(label, label + rows, [](int32_t l) { return l >= 0; })));
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const double* row = in(logits) + r * classes;
    double* gradient = out(dlogits) + r * classes;
    std::fill_n(gradient, classes, 0.0);
    if (label[r] < 0) continue;
    const double greatest = *std::max_element(row, row + classes);
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(row[k] - greatest);
    total += std::log(sum) + greatest - row[label[r]];
    for (int64_t k = 0; k < classes; ++k) {
      gradient[k] = (std::exp(row[k] - greatest) / sum - (k == label[r] ? 1 : 0)) / counted;
    }
  }
  out(loss)[0] = total / counted;
}

namespace {

// One vector of `count` elements, `step` apart: returns the cosine and adds factor * d(cosine)/d(student).
double cosine(const double* student, const double* teacher, int64_t count, int64_t step, double factor,
              double* gradient) {
  double product = 0, student_squares = 0, teacher_squares = 0;
  for (int64_t i = 0; i < count * step; i += step) {
    product += student[i] * teacher[i];
    student_squares += student[i] * student[i];
    teacher_squares += teacher[i] * teacher[i];
  }
  const double length = std::sqrt(student_squares);
  const double student_norm = std::max(length, 1e-12), teacher_norm = std::max(std::sqrt(teacher_squares), 1e-12);
  const double value = product / (student_norm * teacher_norm);
  for (int64_t i = 0; i < count * step; i += step) {
    // A clamped norm is a constant: only the product depends on the student there.
    const double through_norm = length > 1e-12 ? value * student[i] / student_norm : 0;
    gradient[i] += factor * (teacher[i] / teacher_norm - through_norm) / student_norm;
  }
  return value;
}

}  // namespace

void coss_loss(Context&, const CossParams& p, const Tensor& student, const Tensor& teacher, Tensor& terms,
               Tensor& dstudent) {
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  const double row_factor = -double(p.scale) * double(p.row_weight) / double(rows);
  const double column_factor = -double(p.scale) * double(p.column_weight) / double(width);
  std::fill_n(out(dstudent), dstudent.numel(), 0.0);
  double row_sum = 0, column_sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t first = r * width;
    row_sum += cosine(in(student) + first, in(teacher) + first, width, 1, row_factor, out(dstudent) + first);
  }
  for (int64_t d = 0; d < width; ++d) {
    column_sum += cosine(in(student) + d, in(teacher) + d, rows, width, column_factor, out(dstudent) + d);
  }
  out(terms)[0] = row_factor * row_sum + column_factor * column_sum;
  out(terms)[1] = -row_sum / double(rows);
  out(terms)[2] = -column_sum / double(width);
}

}  // namespace coss::reference
