// Losses over relations between the rows of a batch, in double: each formula as it is written, one term after another.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

double smooth_l1(double x) { return std::abs(x) < 1 ? x * x / 2 : std::abs(x) - 0.5; }
double smooth_l1_slope(double x) { return std::clamp(x, -1.0, 1.0); }

// |x_i - x_j|^2 from inner products; 0 for rows that differ by rounding only.
struct SquareDistances {
  const double* gram;
  int64_t n;
  double operator()(int64_t i, int64_t j) const {
    const double lengths = gram[i * n + i] + gram[j * n + j], square = lengths - 2 * gram[i * n + j];
    return i != j && square > 1e-6 * lengths ? square : 0;
  }
  // Adds the gradient `by` of one such distance to the gradient of the inner products.
  void pass(double by, int64_t i, int64_t j, double* dgram) const {
    dgram[i * n + i] += by;
    dgram[j * n + j] += by;
    dgram[i * n + j] -= 2 * by;
  }
};

}  // namespace

void sp_loss(Context&, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  const double share = 1 / double(n * n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double *s = in(student_gram) + i * n, *t = in(teacher_gram) + i * n;
    double* gradient = out(dgram) + i * n;
    double ss = 0, tt = 0;
    for (int64_t j = 0; j < n; ++j) {
      ss += s[j] * s[j];
      tt += t[j] * t[j];
    }
    const double length = std::sqrt(ss), norm = std::max(length, 1e-12), teacher = std::max(std::sqrt(tt), 1e-12);
    double along = 0;
    for (int64_t j = 0; j < n; ++j) {
      const double difference = s[j] / norm - t[j] / teacher;
      total += difference * difference * share;
      along += difference * s[j] / norm;
    }
    if (length <= 1e-12) along = 0;  // a clamped norm is a constant
    for (int64_t j = 0; j < n; ++j)
      gradient[j] = 2 * share * (s[j] / norm - t[j] / teacher - along * s[j] / norm) / norm;
  }
  out(loss)[0] = total;
}

void pkt_loss(Context&, const Tensor& student_cosines, const Tensor& teacher_cosines, Tensor& loss, Tensor& dcosines) {
  constexpr double kEps = 1e-7;
  const int64_t n = student_cosines.shape()[0];
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double *s = in(student_cosines) + i * n, *t = in(teacher_cosines) + i * n;
    double* gradient = out(dcosines) + i * n;
    double of_s = 0, of_t = 0;
    for (int64_t j = 0; j < n; ++j) {
      of_s += (s[j] + 1) / 2;
      of_t += (t[j] + 1) / 2;
    }
    of_s = std::max(of_s, 1e-12);
    of_t = std::max(of_t, 1e-12);
    double along = 0;
    for (int64_t j = 0; j < n; ++j) {
      const double p = (s[j] + 1) / 2 / of_s, q = (t[j] + 1) / 2 / of_t;
      total += q * std::log((q + kEps) / (p + kEps)) / double(n * n);
      gradient[j] = -q / (p + kEps) / double(n * n);
      along += gradient[j] * p;
    }
    for (int64_t j = 0; j < n; ++j) gradient[j] = (gradient[j] - along) / of_s / 2;
  }
  out(loss)[0] = total;
}

void rkd_loss(Context&, const RkdParams& p, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& terms,
              Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  const double *g = in(student_gram), *h = in(teacher_gram);
  const SquareDistances of_s{g, n}, of_t{h, n};
  double* gradient = out(dgram);
  std::fill_n(gradient, n * n, 0.0);
  const auto distance = [](double square) { return std::sqrt(std::max(square, 1e-12)); };

  double mean_s = 0, mean_t = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      if (i != j) {
        mean_s += distance(of_s(i, j)) / double(n * (n - 1));
        mean_t += distance(of_t(i, j)) / double(n * (n - 1));
      }
  double distances = 0, along = 0;
  for (const bool second : {false, true})
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        if (i == j) continue;
        const double s = distance(of_s(i, j)) / mean_s, difference = s - distance(of_t(i, j)) / mean_t;
        const double slope = smooth_l1_slope(difference) / double(n * n);
        if (!second) {
          distances += smooth_l1(difference) / double(n * n);
          along += slope * s;
        } else if (of_s(i, j) > 1e-12) {
          const double by = (slope - along / double(n * (n - 1))) / mean_s / (2 * s * mean_s);
          of_s.pass(double(p.distance_weight) * by, i, j, gradient);
        }
      }

  double angles = 0;
  const double share = 1 / (double(n) * double(n) * double(n));
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < n; ++k) {
        const auto cosine = [&](const double* x, const SquareDistances& of) {
          const double squares = of(i, j) * of(k, j);
          return squares > 0 ? (x[i * n + k] - x[i * n + j] - x[j * n + k] + x[j * n + j]) / std::sqrt(squares) : 0;
        };
        const double c = cosine(g, of_s), difference = c - cosine(h, of_t);
        angles += smooth_l1(difference) * share;
        const double squares = of_s(i, j) * of_s(k, j);
        if (squares == 0) continue;
        const double by = double(p.angle_weight) * smooth_l1_slope(difference) * share;
        const double of_product = by / std::sqrt(squares);
        gradient[i * n + k] += of_product;
        gradient[j * n + j] += of_product;
        for (const int64_t m : {i, k}) {
          gradient[m * n + j] -= of_product;  // symmetric: (j, k) is (k, j)
          of_s.pass(-by * c / (2 * of_s(m, j)), m, j, gradient);
        }
      }
  out(terms)[0] = double(p.distance_weight) * distances + double(p.angle_weight) * angles;
  out(terms)[1] = distances;
  out(terms)[2] = angles;
}

void ega_loss(Context&, const EgaParams& p, const Tensor& student_edges, const Tensor& teacher_edges,
              const Tensor& nodes, Tensor& terms, Tensor& dedges, Tensor& dnodes) {
  const int64_t n = nodes.shape()[0];
  const auto node = [&](int64_t at) { return in(nodes)[at] - (at % (n + 1) == 0 ? 1 : 0); };
  const auto edge = [&](int64_t at) { return in(student_edges)[at] - in(teacher_edges)[at]; };
  double of_nodes = 0, of_edges = 0;
  for (int64_t at = 0; at < n * n; ++at) {
    of_nodes += node(at) * node(at);
    of_edges += edge(at) * edge(at);
  }
  of_nodes = std::sqrt(of_nodes);
  of_edges = std::sqrt(of_edges);
  for (int64_t at = 0; at < n * n; ++at) {
    out(dnodes)[at] = of_nodes > 0 ? double(p.node_weight) * node(at) / of_nodes : 0;
    out(dedges)[at] = of_edges > 0 ? double(p.edge_weight) * edge(at) / of_edges : 0;
  }
  out(terms)[0] = double(p.node_weight) * of_nodes + double(p.edge_weight) * of_edges;
  out(terms)[1] = of_nodes;
  out(terms)[2] = of_edges;
}

void irg_loss(Context&, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  const SquareDistances of_s{in(student_gram), n}, of_t{in(teacher_gram), n};
  double most_s = 0, most_t = 0, most_at = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      if (of_s(i, j) > most_s) most_at = 0;
      most_s = std::max(most_s, of_s(i, j));
      most_t = std::max(most_t, of_t(i, j));
      most_at += of_s(i, j) == most_s;
    }
  const auto over = [](double x, double most) { return most > 0 ? x / most : 0; };
  double total = 0, along = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double s = over(of_s(i, j), most_s), difference = s - over(of_t(i, j), most_t);
      total += difference * difference / double(n * n);
      along += 2 * difference * s / double(n * n);
    }
  double* gradient = out(dgram);
  std::fill_n(gradient, n * n, 0.0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      if (of_s(i, j) == 0) continue;
      const double difference = of_s(i, j) / most_s - over(of_t(i, j), most_t);
      const double of_most = of_s(i, j) == most_s ? along / most_at : 0;
      of_s.pass((2 * difference / double(n * n) - of_most) / most_s, i, j, gradient);
    }
  out(loss)[0] = total;
}

void irg_path_loss(Context&, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t n = student.shape()[0];
  const auto squares = [n](const Tensor& x) {
    const int64_t width = x.numel() / n;
    std::vector<double> sums(size_t(n), 0);
    for (int64_t i = 0; i < x.numel(); ++i) sums[size_t(i / width)] += in(x)[i] * in(x)[i];
    return sums;
  };
  const std::vector<double> of_s = squares(student), of_t = squares(teacher);
  const double most_s = *std::max_element(of_s.begin(), of_s.end());
  const double most_t = *std::max_element(of_t.begin(), of_t.end());
  const double most_at = double(std::count(of_s.begin(), of_s.end(), most_s));
  const auto difference = [&](size_t i) {
    return (most_s > 0 ? of_s[i] / most_s : 0) - (most_t > 0 ? of_t[i] / most_t : 0);
  };
  double total = 0, along = 0;
  for (size_t i = 0; i < size_t(n); ++i) {
    total += difference(i) * difference(i) / double(n);
    along += most_s > 0 ? 2 * difference(i) * of_s[i] / most_s / double(n) : 0;
  }
  const int64_t width = student.numel() / n;
  for (int64_t at = 0; at < student.numel(); ++at) {
    const size_t i = size_t(at / width);
    const double of_most = of_s[i] == most_s ? along / most_at : 0;
    out(dstudent)[at] = most_s > 0 ? (2 * difference(i) / double(n) - of_most) / most_s * 2 * in(student)[at] : 0;
  }
  out(loss)[0] = total;
}

}  // namespace coss::reference
