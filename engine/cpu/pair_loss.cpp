// Losses that contrast the rows of a batch with one another, from their cosines, and one loss of neighboring rows (CC).
// A row of cosines stays in the cache from its first reading to its gradient; sums over the batch are in double.
#include <limits>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cpu {
namespace {

void check_temperature(const char* kernel, float temperature) {
  COSS_CHECK(temperature > 0, std::string("[") + kernel + "] the temperature must be positive");
}

double sum_of(const double* values, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += values[i];
  return total;
}

VecI get_labels(const int32_t* p, Whole) { return load_raw<VecI>(p); }
VecI get_labels(const int32_t* p, int64_t n) {
  int32_t buffer[kLanes] = {};
  std::memcpy(buffer, p, size_t(n) * sizeof(int32_t));
  return load_raw<VecI>(buffer);
}

// The sum of the logarithms of many numbers in [1e-10, 2): mantissas are multiplied and exponents added, so that one
// logarithm per lane is enough. It does not pass on NaN.
class LogSum {
 public:
  void add(LaneBits bits, Vec x) {
    const VecI word = (VecI)(product_ * select(bits, x, broadcast(1)));
    exponent_ += (word >> 23) - 127;
    product_ = (Vec)((word & 0x007fffff) | 0x3f800000);
  }
  double value() const {
    double total = 0;
    for (int i = 0; i < kLanes; ++i) total += std::log(double(product_[i])) + double(exponent_[i]) * std::log(2.0);
    return total;
  }

 private:
  Vec product_ = broadcast(1);
  VecI exponent_{};
};

// The greatest element of a row; `skipped` is left out, -1: nothing is.
float greatest_of(const float* row, int64_t count, int64_t skipped) {
  Vec greatest = broadcast(-std::numeric_limits<float>::infinity());
  const auto part = [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto n) {
      greatest = select(first_lanes(n), at_least(greatest, get(row + i, n)), greatest);
    });
  };
  part(0, std::max<int64_t>(skipped, 0));
  part(skipped + 1, count);
  return max(greatest);
}

// y = exp((x - greatest) / temperature).
void exponentials(const float* x, int64_t count, float greatest, float inverse_temperature, float* y) {
  for_vectors(0, count,
              [&](int64_t i, auto n) { put(y + i, exp((get(x + i, n) - greatest) * inverse_temperature), n); });
}

double sum_of(const float* x, int64_t count) {
  Vec total{};
  for_vectors(0, count, [&](int64_t i, auto n) { total += get(x + i, n); });
  return sum(total);
}

// Computes one row of nce_loss and returns its loss. The most likely column is treated apart: only there may 1 - p be
// far smaller than p, and the sum of all others gives it without a subtraction.
double nce_row(const float* cosines, const int32_t* labels, int64_t count, int32_t own_label, float inverse_temperature,
               float share, float* e, float* gradient) {
  const float greatest = greatest_of(cosines, count, -1);
  exponentials(cosines, count, greatest, inverse_temperature, e);
  const int64_t top = std::min(std::find(cosines, cosines + count, greatest) - cosines, count - 1);
  e[top] = 0;
  const double rest = sum_of(e, count), sum = rest + 1;
  const int64_t alike = std::count(labels, labels + count, own_label), others = count - alike;
  const float inverse = float(1 / sum), of_alike = -1 / float(alike), of_others = others ? 1 / float(others) : 0;

  LogSum logs[2];
  Vec mixed{};  // p times the gradient by p
  VecI lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for_vectors(0, count, [&](int64_t i, auto n) {
    const Vec p = get(e + i, n) * inverse, near = p + kNceEps, far = 1 - p + kNceEps;
    const LaneBits own = equal(get_labels(labels + i, n), VecI{} + own_label);
    const LaneBits counted = LaneBits(first_lanes(n) & ~equal(lane + int32_t(i), VecI{} + int32_t(top)));
    logs[0].add(LaneBits(counted & own), near);
    logs[1].add(LaneBits(counted & ~own), far);
    const Vec by_p = select(own, of_alike / near, of_others / far);
    mixed += keep(first_lanes(n), p * by_p);
    put(gradient + i, by_p, n);
  });

  const bool own = labels[top] == own_label;
  const double p = 1 / sum, near = p + kNceEps, far = rest / sum + kNceEps;
  const double by_top = own ? double(of_alike) / near : double(of_others) / far, of_rest = coss::cpu::sum(mixed);
  const float factor = share * inverse_temperature, shift = float(of_rest + p * by_top);
  for_vectors(0, count, [&](int64_t i, auto n) {
    put(gradient + i, get(e + i, n) * inverse * (get(gradient + i, n) - shift) * factor, n);
  });
  gradient[top] = float(p * (by_top * (rest / sum) - of_rest) * double(factor));

  const double of_top = std::log(own ? near : far);
  const double loss = double(of_alike) * (logs[0].value() + (own ? of_top : 0)) -
                      double(of_others) * (logs[1].value() + (own ? 0 : of_top));
  return std::isfinite(sum) ? loss : sum;
}

// One row of nt_xent_loss. No two nearly equal numbers are subtracted, so rows that are nearly right stay exact.
double nt_xent_row(const float* cosines, int64_t count, int64_t row, float inverse_temperature, float share,
                   float* gradient) {
  const int64_t partner = row < count / 2 ? row + count / 2 : row - count / 2;
  const float greatest = greatest_of(cosines, count, row);
  exponentials(cosines, count, greatest, inverse_temperature, gradient);
  const double difference = double(cosines[partner] - greatest) * double(inverse_temperature);
  gradient[row] = gradient[partner] = 0;
  const double others = sum_of(gradient, count), sum = others + std::exp(difference);
  const float factor = float(double(share * inverse_temperature) / sum);
  for_vectors(0, count, [&](int64_t i, auto n) { put(gradient + i, get(gradient + i, n) * factor, n); });
  gradient[partner] = float(-double(share * inverse_temperature) * (others / sum));
  return difference == 0 ? std::log1p(others) : std::log(sum) - difference;
}

}  // namespace

void nce_loss(Context& ctx, float temperature, const Tensor& cosines, const Tensor& labels, Tensor& loss,
              Tensor& dcosines) {
  check_temperature("nce_loss", temperature);
  const int64_t rows = cosines.shape()[0];
  const int parts = threads_for(rows * rows * 16);
  const int64_t stride = (rows + kLanes - 1) / kLanes * kLanes;
  Scratch scratch(ctx, Scratch::size_of<double>(rows) + Scratch::size_of<float>(parts * stride));
  double* values = scratch.take<double>(rows);
  float* e = scratch.take<float>(parts * stride);
  const float *in = cosines.data<float>(), share = 1 / float(rows);
  const int32_t* label = labels.data<int32_t>();
  float* gradient = dcosines.mutable_data<float>();
  parallel_parts(rows, 1, parts, [&](int part, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      values[r] =
          nce_row(in + r * rows, label, rows, label[r], 1 / temperature, share, e + part * stride, gradient + r * rows);
  });
  loss.mutable_data<float>()[0] = float(sum_of(values, rows) / double(rows));
}

// Row i's gradient needs the differences of rows i - 1 and i + 1 as well: they are read again, from the cache.
void cc_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent,
             Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1];
  const float *s = student.data<float>(), *t = teacher.data<float>();
  float *ds = dstudent.mutable_data<float>(), *dt = dteacher.mutable_data<float>();
  Scratch scratch(ctx, Scratch::size_of<double>(rows));
  double* values = scratch.take<double>(rows);
  const float share = rows > 1 ? 1 / float(rows - 1) : 0;
  parallel_ranges(rows, 1, width * 32, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Vec total{};
      for_vectors(0, width, [&](int64_t c, auto n) {
        const auto difference = [&](int64_t row) { return get(s + row * width + c, n) - get(t + row * width + c, n); };
        const auto length = [&](int64_t row) { return (Vec)((VecI)difference(row) & 0x7fffffff); };
        const Vec own = difference(r), next = r + 1 < rows ? length(r + 1) : Vec{};
        const Vec slope = (next + (r > 0 ? length(r - 1) : Vec{})) * share;
        const Vec g = keep(less(Vec{}, own), slope) - keep(less(own, Vec{}), slope);
        put(ds + r * width + c, g, n);
        put(dt + r * width + c, -g, n);
        total += length(r) * next;
      });
      values[r] = sum(total);
    }
  });
  loss.mutable_data<float>()[0] = float(sum_of(values, rows) * double(share));
}

// Distances of unit rows have the reverse order of cosines, so roots are needed for the chosen pairs only.
void smd_loss(Context& ctx, float temperature, const Tensor& cosine_weight, const Tensor& teacher_cosines,
              const Tensor& cosines, Tensor& terms, Tensor& dcosines) {
  check_temperature("smd_loss", temperature);
  const int64_t rows = cosines.shape()[0];
  const float *of_teacher = teacher_cosines.data<float>(), *in = cosines.data<float>();
  const float weight = cosine_weight.data<float>()[0];
  float* gradient = dcosines.mutable_data<float>();
  Scratch scratch(ctx, Scratch::size_of<double>(rows));
  double* values = scratch.take<double>(rows);
  parallel_ranges(rows, 1, rows * 16, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *t = of_teacher + r * rows, *c = in + r * rows;
      const float own = c[r];
      int64_t nearest = -1, farthest = r;
      for (int64_t j = 0; j < rows; ++j) {
        if (j != r && t[j] < own) {
          if (nearest < 0 || c[j] > c[nearest]) nearest = j;
        } else if (c[j] < c[farthest] || (c[j] == c[farthest] && j < farthest)) {
          farthest = j;
        }
      }
      const SmdPair negative = nearest < 0 ? SmdPair{} : SmdPair(t[nearest], c[nearest], temperature, false);
      const SmdPair positive(farthest == r ? 1 : t[farthest], c[farthest], temperature, true);
      const double difference = positive.logit - negative.logit, share = softplus_slope(difference) / double(rows);
      values[r] = own != own ? double(own) : softplus(difference);
      std::fill_n(gradient + r * rows, rows, 0.0f);
      if (nearest >= 0) gradient[r * rows + nearest] = float(-share * negative.slope);
      gradient[r * rows + farthest] = float(share * positive.slope);
      gradient[r * rows + r] -= weight / float(rows);
    }
  });
  double own = 0;
  for (int64_t r = 0; r < rows; ++r) own -= double(in[r * (rows + 1)]);
  float* out = terms.mutable_data<float>();
  const double distance = sum_of(values, rows) / double(rows);
  out[0] = float(distance + double(weight) * own / double(rows));
  out[1] = float(distance);
  out[2] = float(own / double(rows));
}

void nt_xent_loss(Context& ctx, float temperature, const Tensor& cosines, Tensor& loss, Tensor& dcosines) {
  check_temperature("nt_xent_loss", temperature);
  const int64_t rows = cosines.shape()[0];
  const float* in = cosines.data<float>();
  float* gradient = dcosines.mutable_data<float>();
  Scratch scratch(ctx, Scratch::size_of<double>(rows));
  double* values = scratch.take<double>(rows);
  parallel_ranges(rows, 1, rows * 16, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      values[r] = nt_xent_row(in + r * rows, rows, r, 1 / temperature, 1 / float(rows), gradient + r * rows);
  });
  loss.mutable_data<float>()[0] = float(sum_of(values, rows) / double(rows));
}

}  // namespace coss::cpu
