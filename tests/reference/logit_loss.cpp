// Losses between logits of the reference backend: value and gradient.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// log of softmax(x / temperature) over the elements of a row except `left_out`, which gets 0; -1 leaves none out.
std::vector<double> log_softmax_without(int64_t left_out, const double* x, int64_t width, double temperature) {
  double greatest = -INFINITY, sum = 0;
  for (int64_t k = 0; k < width; ++k)
    if (k != left_out) greatest = std::max(greatest, x[k]);
  for (int64_t k = 0; k < width; ++k)
    if (k != left_out) sum += std::exp((x[k] - greatest) / temperature);
  std::vector<double> logs(size_t(width), 0.0);
  for (int64_t k = 0; k < width; ++k)
    if (k != left_out) logs[size_t(k)] = (x[k] - greatest) / temperature - std::log(sum);
  return logs;
}

}  // namespace

void soft_cross_entropy(Context&, const SoftCrossEntropyParams& p, const Tensor& student, const Tensor& teacher,
                        Tensor& loss, Tensor& dstudent) {
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  const double t_s = double(p.student_temperature), factor = double(p.weight) / double(std::max<int64_t>(1, rows));
  const double backward = p.kind == SoftCrossEntropyParams::symmetric ? 0.5 : 0, forward = 1 - backward;
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<double> s = log_softmax_without(-1, in(student) + r * width, width, t_s);
    const std::vector<double> t =
        log_softmax_without(-1, in(teacher) + r * width, width, double(p.teacher_temperature));
    double cross = 0, entropy = 0, reverse = 0;
    for (size_t k = 0; k < s.size(); ++k) {
      cross -= std::exp(t[k]) * s[k];
      entropy -= std::exp(t[k]) * t[k];
      reverse += std::exp(s[k]) * (s[k] - t[k]);
    }
    total += forward * (cross - (p.kind == SoftCrossEntropyParams::cross_entropy ? 0 : entropy)) + backward * reverse;
    for (size_t k = 0; k < s.size(); ++k) {
      const double of_forward = std::exp(s[k]) - std::exp(t[k]);
      const double of_backward = std::exp(s[k]) * (s[k] - t[k] - reverse);
      out(dstudent)[r * width + int64_t(k)] = factor / t_s * (forward * of_forward + backward * of_backward);
    }
  }
  out(loss)[0] = factor * total;
}

void dkd_loss(Context&, const DkdParams& p, const Tensor& student, const Tensor& teacher, const Tensor& labels,
              Tensor& terms, Tensor& dstudent) {
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  const int32_t* label = labels.data<int32_t>();
  const double counted =
      double(std::max<int64_t>(1, std::count_if(label, label + rows, [](int32_t l) { return l >= 0; })));
  const double temperature = double(p.temperature), square = temperature * temperature;
  double target = 0, other = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double* gradient = out(dstudent) + r * width;
    std::fill_n(gradient, width, 0.0);
    const int64_t own = label[r];
    if (own < 0) continue;
    const double *x_s = in(student) + r * width, *x_t = in(teacher) + r * width;
    const std::vector<double> all_s = log_softmax_without(-1, x_s, width, temperature);
    const std::vector<double> all_t = log_softmax_without(-1, x_t, width, temperature);
    const std::vector<double> s = log_softmax_without(own, x_s, width, temperature);
    const std::vector<double> t = log_softmax_without(own, x_t, width, temperature);
    double rest_s = 0, rest_t = 0;  // the probability of all other classes together
    for (int64_t k = 0; k < width; ++k) {
      if (k == own) continue;
      rest_s += std::exp(all_s[size_t(k)]);
      rest_t += std::exp(all_t[size_t(k)]);
    }
    const double p_t = std::exp(all_t[size_t(own)]), p_s = std::exp(all_s[size_t(own)]);
    target += p_t * (all_t[size_t(own)] - all_s[size_t(own)]) + rest_t * std::log(rest_t / rest_s);
    const double of_target = double(p.target_weight) * temperature / counted * (p_s - p_t);
    gradient[own] = of_target;
    for (int64_t k = 0; k < width; ++k) {
      if (k == own) continue;
      const double q_s = std::exp(s[size_t(k)]), q_t = std::exp(t[size_t(k)]);
      other += q_t * (t[size_t(k)] - s[size_t(k)]);
      gradient[k] = double(p.other_weight) * temperature / counted * (q_s - q_t) - of_target * q_s;
    }
  }
  target *= square / counted;
  other *= square / counted;
  out(terms)[0] = double(p.target_weight) * target + double(p.other_weight) * other;
  out(terms)[1] = target;
  out(terms)[2] = other;
}

}  // namespace coss::reference
