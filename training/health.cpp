// One Gram matrix for the student and one for the teacher, in double, give ranks and neighbors. All other work is
// small.
#include "training/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "training/eigenvalues.h"

namespace coss {
namespace {

constexpr int64_t kMostRows = 256;

struct Rows {
  int64_t count = 0, width = 0;
  std::vector<double> values;
};

Rows first_rows(const Tensor& features) {
  Rows rows;
  if (features.empty() || features.numel() == 0) return rows;
  rows.count = std::min(features.shape()[0], kMostRows);
  rows.width = features.numel() / features.shape()[0];
  rows.values = features.view(0, {rows.count, rows.width}).to_doubles();
  if (!std::all_of(rows.values.begin(), rows.values.end(), [](double v) { return std::isfinite(v); })) return {};
  return rows;
}

Rows transposed(const Rows& x) {
  Rows y{x.width, x.count, std::vector<double>(x.values.size())};
  for (int64_t i = 0; i < x.count; ++i)
    for (int64_t j = 0; j < x.width; ++j) y.values[size_t(j * x.count + i)] = x.values[size_t(i * x.width + j)];
  return y;
}

// Products of all pairs of rows, (count, count). Tiles of four rows by four are packed, so that both are read in order.
std::vector<double> gram(const Rows& x) {
  constexpr int64_t kTile = 4;
  const int64_t tiles = (x.count + kTile - 1) / kTile;
  std::vector<double> packed(size_t(tiles * x.width * kTile), 0.0), g(size_t(x.count * x.count));
  for (int64_t i = 0; i < x.count; ++i)
    for (int64_t d = 0; d < x.width; ++d)
      packed[size_t(((i / kTile) * x.width + d) * kTile + i % kTile)] = x.values[size_t(i * x.width + d)];
#pragma omp parallel for schedule(dynamic)
  for (int64_t a = 0; a < tiles; ++a)
    for (int64_t b = 0; b <= a; ++b) {
      std::array<std::array<double, kTile>, kTile> sum{};
      const double *left = packed.data() + a * x.width * kTile, *right = packed.data() + b * x.width * kTile;
      for (int64_t d = 0; d < x.width; ++d, left += kTile, right += kTile)
        for (size_t i = 0; i < kTile; ++i)
          for (size_t j = 0; j < kTile; ++j) sum[i][j] += left[i] * right[j];
      for (int64_t i = 0; i < kTile; ++i)
        for (int64_t j = 0; j < kTile; ++j) {
          const int64_t row = a * kTile + i, column = b * kTile + j;
          if (row >= x.count || column >= x.count) continue;
          g[size_t(row * x.count + column)] = g[size_t(column * x.count + row)] = sum[size_t(i)][size_t(j)];
        }
    }
  return g;
}

// Scales each row to unit length and returns the lengths that the rows had.
std::vector<double> to_unit_length(Rows& x) {
  std::vector<double> lengths;
  for (int64_t i = 0; i < x.count; ++i) {
    double* row = x.values.data() + i * x.width;
    lengths.push_back(std::sqrt(std::inner_product(row, row + x.width, row, 0.0)));
    for (int64_t j = 0; j < x.width; ++j) row[j] /= std::max(lengths.back(), kSmallestNorm);
  }
  return lengths;
}

void center(Rows& x) {
  std::vector<double> mean(static_cast<size_t>(x.width), 0.0);
  for (int64_t i = 0; i < x.count; ++i)
    for (int64_t j = 0; j < x.width; ++j) mean[size_t(j)] += x.values[size_t(i * x.width + j)];
  for (double& m : mean) m /= double(x.count);
  for (int64_t i = 0; i < x.count; ++i)
    for (int64_t j = 0; j < x.width; ++j) x.values[size_t(i * x.width + j)] -= mean[size_t(j)];
}

double spread_of_unit_rows(Rows unit) {
  center(unit);
  std::vector<double> square(static_cast<size_t>(unit.width), 0.0);
  for (int64_t i = 0; i < unit.count; ++i)
    for (int64_t j = 0; j < unit.width; ++j) {
      const double v = unit.values[size_t(i * unit.width + j)];
      square[size_t(j)] += v * v;
    }
  double sum = 0;
  for (double s : square) sum += std::sqrt(s / double(unit.count));
  return sum / std::sqrt(double(unit.width));
}

// Products of the centered rows, from the cosines and lengths of the rows.
std::vector<double> centered_gram(std::vector<double> g, const std::vector<double>& lengths) {
  const size_t n = lengths.size();
  std::vector<double> mean(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) mean[i] += g[i * n + j] *= lengths[i] * lengths[j];
    mean[i] /= double(n);
  }
  const double all = std::accumulate(mean.begin(), mean.end(), 0.0) / double(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) g[i * n + j] += all - mean[i] - mean[j];
  return g;
}

// The exponential of the entropy of the singular values, each divided by their sum. They are the roots of the
// eigenvalues of `square` (n, n); eigenvalues up to `nothing` are rounding errors and count as 0.
double effective_rank(std::vector<double> square, int64_t n, double nothing) {
  std::vector<double> values = symmetric_eigenvalues(std::move(square), n);
  double sum = 0, entropy = 0;
  for (double& value : values) sum += value = value > nothing ? std::sqrt(value) : 0;
  if (sum <= 0) return 0;
  for (double value : values)
    if (value > 0) entropy -= value / sum * std::log(value / sum);
  return std::exp(entropy);
}

// For every row of `cosines` (n, n) the k other rows with the largest cosines, nearest first.
std::vector<std::vector<int>> nearest_rows(const std::vector<double>& cosines, int64_t n, int64_t k) {
  std::vector<std::vector<int>> nearest;
  std::vector<int> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const double* row = cosines.data() + i * n;
    std::iota(order.begin(), order.end(), 0);
    std::swap(order[size_t(i)], order.back());
    std::partial_sort(order.begin(), order.begin() + k, order.end() - 1,
                      [&](int a, int b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    nearest.emplace_back(order.begin(), order.begin() + k);
  }
  return nearest;
}

double overlap(const std::vector<std::vector<int>>& a, const std::vector<std::vector<int>>& b, int64_t k) {
  int64_t both = 0;
  for (size_t i = 0; i < a.size(); ++i)
    for (int64_t j = 0; j < k; ++j)
      both += std::find(b[i].begin(), b[i].begin() + k, a[i][size_t(j)]) != b[i].begin() + k;
  return double(both) / double(int64_t(a.size()) * k);
}

// Standard deviation, rank and cosines of the student's or the teacher's features.
struct Side {
  double spread = Health::kNone, rank = Health::kNone;
  int64_t rows = 0;
  std::vector<double> cosines;
};

Side measure_side(const Tensor& features) {
  Rows x = first_rows(features);
  Side side;
  side.rows = x.count;
  if (x.count < 2) return side;
  Rows centered = x;
  const std::vector<double> lengths = to_unit_length(x);
  side.cosines = gram(x);
  const double nothing = 1e-13 * std::inner_product(lengths.begin(), lengths.end(), lengths.begin(), 0.0);
  if (x.width < x.count) {  // the same singular values from the smaller square
    center(centered);
    side.rank = effective_rank(gram(transposed(centered)), x.width, nothing);
  } else {
    side.rank = effective_rank(centered_gram(side.cosines, lengths), x.count, nothing);
  }
  side.spread = spread_of_unit_rows(std::move(x));
  return side;
}

}  // namespace

std::vector<std::pair<std::string, double>> Health::numbers() const {
  std::vector<std::pair<std::string, double>> all{{"student_std", student_std}, {"student_rank", student_rank},
                                                  {"teacher_std", teacher_std}, {"teacher_rank", teacher_rank},
                                                  {"overlap_1", overlap_1},     {"overlap_5", overlap_5},
                                                  {"overlap_10", overlap_10}};
  std::erase_if(all, [](const auto& number) { return std::isnan(number.second); });
  return all;
}

Health measure_health(const Tensor& student, const Tensor& teacher) {
  const Side s = measure_side(student), t = measure_side(teacher);
  Health health;
  health.rows = std::max(s.rows, t.rows);
  health.student_std = s.spread, health.student_rank = s.rank;
  health.teacher_std = t.spread, health.teacher_rank = t.rank;
  if (s.rows != t.rows) return health;
  // If k is the number of all other rows, the overlap is always 1 and says nothing.
  const int64_t others = s.rows - 1, most = others > 10 ? 10 : others > 5 ? 5 : others > 1 ? 1 : 0;
  if (most == 0) return health;
  const auto of_student = nearest_rows(s.cosines, s.rows, most), of_teacher = nearest_rows(t.cosines, t.rows, most);
  health.overlap_1 = overlap(of_teacher, of_student, 1);
  if (most >= 5) health.overlap_5 = overlap(of_teacher, of_student, 5);
  if (most >= 10) health.overlap_10 = overlap(of_teacher, of_student, 10);
  return health;
}

std::vector<std::string> HealthWatch::look(int64_t step, const Health& health, double gradient_norm) {
  // At first a network hardly tells images apart, and ranks of a few rows or of an untrained student mean nothing.
  constexpr int64_t kSettled = 500, kEnoughRows = 32, kMemory = 51, kFewest = 5;
  constexpr double kCollapsed = 1e-3;
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& kind, const std::string& text) {
    if (said_.insert(kind).second) warnings.push_back(fmt::format("step {}: warning: {}", step, text));
  };
  const bool settled = step >= kSettled, enough = health.rows >= kEnoughRows;

  if (std::isnan(first_std_)) first_std_ = health.student_std;
  if (settled && (health.student_std < kCollapsed || health.student_std < first_std_ / 10))
    warn("student_std", fmt::format("student_std is {:.3g}, {:.3g} at the start: the features of all images become the "
                                    "same; usually schedule.learning_rate is too high or the head gives zeros",
                                    health.student_std, first_std_));
  if (settled && enough && (health.student_rank < 2 || health.student_rank < health.teacher_rank / 10))
    warn(
        "student_rank",
        fmt::format("student_rank is {:.3g}{}: the features use few directions; usually schedule.learning_rate is too "
                    "high or one term of the loss drowns the others",
                    health.student_rank,
                    std::isnan(health.teacher_rank) ? "" : fmt::format(", the teacher's {:.3g}", health.teacher_rank)));
  if (enough && (health.teacher_std < kCollapsed || health.teacher_rank < 1.5))
    warn("teacher",
         fmt::format("teacher_std is {:.3g}, teacher_rank {:.3g}: the teacher tells no images apart; usually "
                     "teacher.weights are of another network or data.mean and data.stddev are not its own",
                     health.teacher_std, health.teacher_rank));
  const double chance = 10.0 / std::max<double>(double(health.rows) - 1, 1);
  if (settled && health.rows >= 2 * kEnoughRows && health.overlap_10 < 1.2 * chance)
    warn("overlap",
         fmt::format("overlap_10 is {:.3g}, by chance {:.3g}: the student's neighbors are not the teacher's; "
                     "usually schedule.learning_rate is too low or too high, or the loss's weights are wrong",
                     health.overlap_10, chance));

  if (gradient_norm == 0)
    warn("gradient_norm 0",
         "gradient_norm is 0: nothing is learned; the loss does not depend on the student, or its "
         "activations are all zero");
  if (!std::isfinite(gradient_norm)) return warnings;  // a skipped fp16 step; a bad loss is reported elsewhere
  if (int64_t(norms_.size()) >= kFewest) {
    std::vector<double> sorted = norms_;
    const auto middle = sorted.begin() + int64_t(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    if (*middle > 0 && gradient_norm > 1000 * *middle)
      warn("gradient_norm", fmt::format("gradient_norm is {:.3g}, usually {:.3g}: one batch changes all weights; "
                                        "train.clip_norm=1 or a lower schedule.learning_rate usually helps",
                                        gradient_norm, *middle));
  }
  norms_.push_back(gradient_norm);
  if (int64_t(norms_.size()) > kMemory) norms_.erase(norms_.begin());
  return warnings;
}

}  // namespace coss
