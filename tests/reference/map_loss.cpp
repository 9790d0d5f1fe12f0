// Losses over feature maps in the reference backend: their definitions, loop by loop, without a Gram matrix.
#include "tests/reference/access.h"

namespace coss::reference {

void mse_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t count = student.numel();
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = in(student)[i] - in(teacher)[i];
    total += difference * difference;
    out(dstudent)[i] = 2 * difference / double(count);
  }
  out(loss)[0] = total / double(count);
}

void l1_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t count = student.numel();
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = in(student)[i] - in(teacher)[i];
    total += std::abs(difference);
    out(dstudent)[i] = double((difference > 0) - (difference < 0)) / double(count);
  }
  out(loss)[0] = total / double(count);
}

namespace {

constexpr double kSmallestNorm = 1e-12;

struct Unit {
  std::vector<double> values;
  double length = 0;
  explicit Unit(std::vector<double> x) : values(std::move(x)) {
    for (const double v : values) length += v * v;
    length = std::sqrt(length);
    for (double& v : values) v /= std::max(length, kSmallestNorm);
  }
  // The gradient by the original vector, from that by the unit vector.
  std::vector<double> backward(const std::vector<double>& dy) const {
    double along = 0;
    for (size_t i = 0; i < values.size(); ++i) along += values[i] * dy[i];
    std::vector<double> dx(values.size());
    for (size_t i = 0; i < values.size(); ++i)
      dx[i] = (dy[i] - (length > kSmallestNorm ? along * values[i] : 0)) / std::max(length, kSmallestNorm);
    return dx;
  }
};

Unit attention_map(const double* image, int64_t positions, int64_t channels) {
  std::vector<double> map(size_t(positions), 0.0);
  for (int64_t i = 0; i < positions * channels; ++i)
    map[size_t(i / channels)] += image[i] * image[i] / double(channels);
  return Unit(map);
}

std::vector<Unit> unit_channels(const double* image, int64_t positions, int64_t channels) {
  std::vector<Unit> units;
  for (int64_t c = 0; c < channels; ++c) {
    std::vector<double> values;
    for (int64_t p = 0; p < positions; ++p) values.push_back(image[p * channels + c]);
    units.emplace_back(values);
  }
  return units;
}

// The mean of the squared products; adds weight * its gradient by the vectors of a, as the left factor.
double mean_square_product(const std::vector<Unit>& a, const std::vector<Unit>& b, double weight,
                           std::vector<std::vector<double>>* da) {
  const double share = 1 / double(a.size() * b.size());
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (const Unit& other : b) {
      double product = 0;
      for (size_t p = 0; p < other.values.size(); ++p) product += a[i].values[p] * other.values[p];
      total += share * product * product;
      if (!da) continue;
      for (size_t p = 0; p < other.values.size(); ++p) (*da)[i][p] += weight * share * 2 * product * other.values[p];
    }
  }
  return total;
}

}  // namespace

void attention_transfer_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t images = student.shape()[0], channels = student.shape().back(), of_teacher = teacher.shape().back();
  const int64_t positions = student.shape()[1] * student.shape()[2];
  double total = 0;
  for (int64_t n = 0; n < images; ++n) {
    const double* image = in(student) + n * positions * channels;
    const Unit s = attention_map(image, positions, channels);
    const Unit t = attention_map(in(teacher) + n * positions * of_teacher, positions, of_teacher);
    std::vector<double> dmap(size_t(positions), 0.0);
    for (size_t p = 0; p < dmap.size(); ++p) {
      const double difference = s.values[p] - t.values[p];
      total += difference * difference / double(images * positions);
      dmap[p] = 2 * difference / double(images * positions);
    }
    const std::vector<double> dsquares = s.backward(dmap);
    for (int64_t i = 0; i < positions * channels; ++i)
      out(dstudent)[n * positions * channels + i] = dsquares[size_t(i / channels)] * 2 * image[i] / double(channels);
  }
  out(loss)[0] = total;
}

void nst_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t images = student.shape()[0], channels = student.shape().back(), of_teacher = teacher.shape().back();
  const int64_t positions = student.shape()[1] * student.shape()[2];
  double total = 0;
  for (int64_t n = 0; n < images; ++n) {
    const std::vector<Unit> x = unit_channels(in(student) + n * positions * channels, positions, channels);
    const std::vector<Unit> y = unit_channels(in(teacher) + n * positions * of_teacher, positions, of_teacher);
    std::vector<std::vector<double>> dx(x.size(), std::vector<double>(size_t(positions), 0.0));
    const double share = 1 / double(images);
    // The first sum has each product twice, once for each factor.
    total += share * (mean_square_product(x, x, 2 * share, &dx) + mean_square_product(y, y, 0, nullptr) -
                      2 * mean_square_product(x, y, -2 * share, &dx));
    for (int64_t c = 0; c < channels; ++c) {
      const std::vector<double> gradient = x[size_t(c)].backward(dx[size_t(c)]);
      for (int64_t p = 0; p < positions; ++p) out(dstudent)[(n * positions + p) * channels + c] = gradient[size_t(p)];
    }
  }
  out(loss)[0] = total;
}

void vid_loss(Context&, float eps, const Tensor& mean, const Tensor& spread, const Tensor& teacher, Tensor& loss,
              Tensor& dmean, Tensor& dspread) {
  const int64_t count = mean.numel(), channels = spread.numel();
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double raw = in(spread)[i % channels], difference = in(mean)[i] - in(teacher)[i];
    const double variance = std::max(raw, 0.0) + std::log1p(std::exp(-std::abs(raw))) + double(eps);
    total += (difference * difference / variance + std::log(variance)) / 2;
    out(dmean)[i] = difference / variance / double(count);
    const double dvariance = (1 - difference * difference / variance) / variance / 2;
    out(dspread)[i % channels] += dvariance * sigmoid(raw) / double(count);
  }
  out(loss)[0] = total / double(count);
}

}  // namespace coss::reference
