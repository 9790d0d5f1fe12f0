// Losses over pairs of rows, by the formulas of their papers.
#include "tests/reference/access.h"

namespace coss::reference {
namespace {

// p = softmax of the elements of `row` except `skipped`, divided by the temperature.
std::vector<double> probabilities(const double* row, int64_t count, double temperature, int64_t skipped) {
  double greatest = -1e300, sum = 0;
  for (int64_t j = 0; j < count; ++j)
    if (j != skipped) greatest = std::max(greatest, row[j]);
  std::vector<double> p(size_t(count), 0.0);
  for (int64_t j = 0; j < count; ++j)
    if (j != skipped) sum += p[size_t(j)] = std::exp((row[j] - greatest) / temperature);
  for (double& value : p) value /= sum;
  return p;
}

double distance(double cosine) { return std::sqrt(std::max(2 - 2 * cosine, 1e-12)); }

}  // namespace

void nce_loss(Context&, float temperature, const Tensor& cosines, const Tensor& labels, Tensor& loss,
              Tensor& dcosines) {
  constexpr double kEps = 1e-10;
  const int64_t rows = cosines.shape()[0];
  const int32_t* label = labels.data<int32_t>();
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const std::vector<double> p = probabilities(in(cosines) + i * rows, rows, double(temperature), -1);
    const double alike = double(std::count(label, label + rows, label[i])), others = double(rows) - alike;
    std::vector<double> by_p;
    double mean = 0;
    for (int64_t j = 0; j < rows; ++j) {
      const double own = p[size_t(j)], rest = 1 - own;
      total -= label[j] == label[i] ? std::log(own + kEps) / alike : std::log(rest + kEps) / others;
      by_p.push_back(label[j] == label[i] ? -1 / (own + kEps) / alike : 1 / (rest + kEps) / others);
      mean += own * by_p.back();
    }
    for (int64_t j = 0; j < rows; ++j)
      out(dcosines)[i * rows + j] = p[size_t(j)] * (by_p[size_t(j)] - mean) / double(temperature) / double(rows);
  }
  out(loss)[0] = total / double(rows);
}

void cc_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent, Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1];
  std::fill_n(out(dstudent), dstudent.numel(), 0.0);
  double total = 0;
  for (int64_t i = 0; i + 1 < rows; ++i) {
    for (int64_t d = 0; d < width; ++d) {
      const int64_t own = i * width + d, next = own + width;
      const double a = in(student)[own] - in(teacher)[own], b = in(student)[next] - in(teacher)[next];
      total += std::abs(a) * std::abs(b);
      out(dstudent)[own] += double((a > 0) - (a < 0)) * std::abs(b) / double(rows - 1);
      out(dstudent)[next] += double((b > 0) - (b < 0)) * std::abs(a) / double(rows - 1);
    }
  }
  for (int64_t i = 0; i < dstudent.numel(); ++i) out(dteacher)[i] = -out(dstudent)[i];
  out(loss)[0] = rows > 1 ? total / double(rows - 1) : 0;
}

void smd_loss(Context&, float temperature, const Tensor& cosine_weight, const Tensor& teacher_cosines,
              const Tensor& cosines, Tensor& terms, Tensor& dcosines) {
  const int64_t rows = cosines.shape()[0];
  const double tau = double(temperature);
  std::fill_n(out(dcosines), dcosines.numel(), 0.0);
  double total = 0, own = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const double* student = in(cosines) + i * rows;
    const auto of_teacher = [&](int64_t j) { return distance(j == i ? 1 : in(teacher_cosines)[i * rows + j]); };
    int64_t nearest = -1, farthest = -1;
    for (int64_t j = 0; j < rows; ++j) {
      if (of_teacher(j) > distance(student[i])) {
        if (nearest < 0 || distance(student[j]) < distance(student[nearest])) nearest = j;
      } else if (farthest < 0 || distance(student[j]) > distance(student[farthest])) {
        farthest = j;
      }
    }
    // Weights are constants.
    double negative = 0, negative_weight = 0;
    if (nearest >= 0) {
      negative_weight = std::max(of_teacher(nearest) - distance(student[nearest]), 0.0);
      negative = negative_weight * distance(student[nearest]) / tau;
    }
    const double weight = std::max(distance(student[farthest]) - of_teacher(farthest), 0.0);
    const double positive = weight * distance(student[farthest]) / tau;
    total += std::max(positive - negative, 0.0) + std::log1p(std::exp(-std::abs(positive - negative)));
    const double share = sigmoid(positive - negative) / double(rows);
    const auto by_cosine = [&](int64_t j) { return 2 - 2 * student[j] > 1e-12 ? -1 / distance(student[j]) : 0; };
    if (nearest >= 0) out(dcosines)[i * rows + nearest] -= share * negative_weight / tau * by_cosine(nearest);
    out(dcosines)[i * rows + farthest] += share * weight / tau * by_cosine(farthest);
    out(dcosines)[i * rows + i] -= in(cosine_weight)[0] / double(rows);
    own -= student[i] / double(rows);
  }
  out(terms)[1] = total / double(rows);
  out(terms)[2] = own;
  out(terms)[0] = out(terms)[1] + in(cosine_weight)[0] * own;
}

void nt_xent_loss(Context&, float temperature, const Tensor& cosines, Tensor& loss, Tensor& dcosines) {
  const int64_t rows = cosines.shape()[0];
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t partner = (i + rows / 2) % rows;
    const std::vector<double> p = probabilities(in(cosines) + i * rows, rows, double(temperature), i);
    total -= std::log(p[size_t(partner)]);
    for (int64_t j = 0; j < rows; ++j)
      out(dcosines)[i * rows + j] = (p[size_t(j)] - (j == partner ? 1 : 0)) / double(temperature) / double(rows);
  }
  out(loss)[0] = total / double(rows);
}

}  // namespace coss::reference
