// Contrast with a queue: one pass over the queue, a block of its rows at a time, with a running softmax (Milakov and
// Gimelshein, 2018) of student and teacher, so that the matrix of logits never exists. Each row keeps the greatest
// product, the sum of weights and the weighted sum of queue rows; value and gradient follow from them at the end.
// Threads take parts of the queue, and the parts are joined in order.
//
// The least possible work is three products of N * K * width multiplications (student's and teacher's logits, the
// student's gradient); the fourth, the teacher's weighted sum, touches only the rows with weight, few at the
// temperatures in use.
#include <oneapi/dnnl/dnnl.h>

#include <bit>
#include <limits>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

constexpr int64_t kRows = 256, kKeys = 256;  // of a block: its products stay in a core's cache
constexpr int64_t kStride = kKeys + kLanes;  // no power of two: rows would share cache sets
// Weights below e^-34 of the greatest do not change a float sum, not even a million of them.
constexpr float kFaintest = -34;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

// A side is the student or the teacher: its rows, and the partners and queue that they are compared with.
struct Side {
  const float *rows, *own, *queue;  // (N,width), (N,width) or null, (K,width)
  int64_t width;
  double temperature;

  // The product of row r with its own partner.
  float own_product(int64_t r) const {
    double product = 0;
    for (int64_t d = 0; d < width; ++d) product += double(rows[r * width + d]) * double(own[r * width + d]);
    return float(product);
  }
};

// The running softmax of each row over one part of the queue.
struct Softmax {
  float* greatest;  // the greatest product so far
  double* sum;      // of the weights exp((product - greatest) / temperature)
  double* slope;    // of the weights times (product - greatest)
  float* mixture;   // (N, width of the student): the weighted sum of the student's queue rows

  static size_t bytes(int64_t rows, int64_t width) {
    return Scratch::size_of<float>(rows) + 2 * Scratch::size_of<double>(rows) + Scratch::size_of<float>(rows * width);
  }
  Softmax(Scratch& scratch, int64_t rows, int64_t width)
      : greatest(scratch.take<float>(rows)),
        sum(scratch.take<double>(rows)),
        slope(scratch.take<double>(rows)),
        mixture(scratch.take<float>(rows * width)) {}
  void clear(int64_t rows, int64_t width) {
    std::fill_n(greatest, rows, kNothing);
    std::fill_n(sum, rows, 0.0);
    std::fill_n(slope, rows, 0.0);
    std::fill_n(mixture, rows * width, 0.0f);
  }
};

void product(char transpose, int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_stride,
             const float* b, int64_t b_stride, float beta, float* y, int64_t y_stride) {
  const auto status = dnnl_sgemm('N', transpose, rows, columns, depth, 1, a, a_stride, b, b_stride, beta, y, y_stride);
  COSS_ASSERT(status == dnnl_success);
}

// Turns a row of products into weights, and scales the row's sums so far to the new greatest product. Returns the
// number of weights that are not zero.
int64_t weigh(const Side& side, int64_t keys, int64_t width, float* products, const Softmax& so_far, int64_t r) {
  Vec top = broadcast(so_far.greatest[r]);
  for_vectors(0, keys, [&](int64_t k, auto n) {
    const Vec x = get(products + k, n);
    const Vec candidate = n == kLanes ? x : select(first_lanes(n), x, broadcast(kNothing));
    top = select(less(top, candidate) | is_nan(candidate), candidate, top);
  });
  const float before = so_far.greatest[r], now = max(top);
  const float inverse = float(1 / side.temperature);
  Vec sum{}, slope{};
  int64_t seen = 0;
  for_vectors(0, keys, [&](int64_t k, auto n) {
    const Vec distance = get(products + k, n) - now, exponent = distance * inverse;
    const LaneBits faint = less(exponent, broadcast(kFaintest));
    const auto counted = LaneBits(first_lanes(n) & LaneBits(~faint));
    seen += std::popcount(counted);
    const Vec weight = counted == 0 ? Vec{} : keep(counted, exp(exponent));
    put(products + k, weight, n);
    sum += weight;
    slope += weight * keep(counted, distance);
  });
  if (now > before && so_far.sum[r] > 0) {
    const double step = double(before) - double(now), shrink = std::exp(step / side.temperature);
    so_far.slope[r] = (so_far.slope[r] + so_far.sum[r] * step) * shrink;
    so_far.sum[r] *= shrink;
    float* mixture = so_far.mixture + r * width;
    for_vectors(0, width, [&](int64_t d, auto n) { put(mixture + d, get(mixture + d, n) * float(shrink), n); });
  }
  so_far.greatest[r] = now;
  so_far.sum[r] += coss::cpu::sum(sum);
  so_far.slope[r] += coss::cpu::sum(slope);
  return seen;
}

// One block of the queue for a block of rows; `partners` are the student's queue rows of this block.
void add_block(const Side& side, const float* partners, int64_t width, int64_t first, int64_t rows, int64_t key,
               int64_t keys, const Softmax& so_far, float* products) {
  product('T', rows, keys, side.width, side.rows + first * side.width, side.width, side.queue + key * side.width,
          side.width, 0, products, kStride);
  int64_t seen = 0;
  for (int64_t r = 0; r < rows; ++r) seen += weigh(side, keys, width, products + r * kStride, so_far, first + r);
  float* mixture = so_far.mixture + first * width;
  if (seen * 8 > rows * keys)
    return product('N', rows, width, keys, products, kStride, partners, width, 1, mixture, width);
  if (seen == 0) return;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < keys; ++k) {
      const float weight = products[r * kStride + k];
      if (weight == 0) continue;
      const float* partner = partners + k * width;
      float* to = mixture + r * width;
      for_vectors(0, width, [&](int64_t d, auto n) { put(to + d, get(to + d, n) + get(partner + d, n) * weight, n); });
    }
  }
}

// One row over all parts of the queue and its own pair: the sums, and what the gradient takes from each part.
struct Joined {
  double greatest, sum = 0, slope = 0;
  double own = 0;  // weight of the own pair

  Joined(const Side& side, const Softmax* parts, int count, int64_t r)
      : greatest(side.own ? double(side.own_product(r)) : double(kNothing)) {
    const double own_product = greatest;
    for (int i = 0; i < count; ++i) greatest = std::max(greatest, double(parts[i].greatest[r]));
    for (int i = 0; i < count; ++i) {
      const double step = double(parts[i].greatest[r]) - greatest, share = std::exp(step / side.temperature);
      if (parts[i].sum[r] == 0) continue;
      sum += share * parts[i].sum[r];
      slope += share * (parts[i].slope[r] + step * parts[i].sum[r]);
    }
    if (!side.own) return;
    own = std::exp((own_product - greatest) / side.temperature);
    sum += own;
    slope += own * (own_product - greatest);
  }
  // Adds to y `factor` times the expected row of the student's queue, own pair included.
  void add_mean(const Side& side, const Side& student, const Softmax* parts, int count, int64_t r, double factor,
                double* y) const {
    const int64_t width = student.width;
    for (int i = 0; i < count; ++i) {
      if (parts[i].sum[r] == 0) continue;
      const double share = factor / sum * std::exp((double(parts[i].greatest[r]) - greatest) / side.temperature);
      const float* from = parts[i].mixture + r * width;
      for (int64_t d = 0; d < width; ++d) y[d] += share * double(from[d]);
    }
    if (side.own)
      for (int64_t d = 0; d < width; ++d) y[d] += factor * own / sum * double(student.own[r * width + d]);
  }
};

Side side_of(const Tensor& rows, const Tensor& own, const Tensor& queue, float temperature) {
  COSS_ASSERT(temperature > 0 && queue.shape()[1] == rows.shape()[1] && (own.empty() || own.shape() == rows.shape()));
  return {rows.data<float>(), own.empty() ? nullptr : own.data<float>(), queue.data<float>(), rows.shape()[1],
          double(temperature)};
}

}  // namespace

void queue_contrast(Context& ctx, const QueueContrastParams& p, const Tensor& student, const Tensor& own_student,
                    const Tensor& student_queue, const Tensor& teacher, const Tensor& own_teacher,
                    const Tensor& teacher_queue, Tensor& loss, Tensor& dstudent) {
  const bool taught = !teacher.empty();
  COSS_ASSERT(taught ? own_student.empty() == own_teacher.empty() : !own_student.empty());
  const int64_t rows = student.shape()[0], width = student.shape()[1], keys = student_queue.shape()[0];
  COSS_ASSERT(!taught || (teacher.shape()[0] == rows && teacher_queue.shape()[0] == keys));
  Side sides[2] = {side_of(student, own_student, student_queue, p.student_temperature), {}};
  if (taught) sides[1] = side_of(teacher, own_teacher, teacher_queue, p.teacher_temperature);
  const int kinds = taught ? 2 : 1;

  const int64_t blocks = (keys + kKeys - 1) / kKeys;
  const int parts = int(std::min<int64_t>(blocks, threads_for(keys * width * 64)));
  const size_t each = Scratch::size_of<float>(kRows * kStride) + size_t(kinds) * Softmax::bytes(rows, width);
  Scratch scratch(ctx, size_t(parts) * each + Scratch::size_of<double>(rows) + Scratch::size_of<double>(rows * width));
  std::vector<Softmax> so_far[2];
  std::vector<float*> products;
  for (int part = 0; part < parts; ++part) {
    products.push_back(scratch.take<float>(kRows * kStride));
    for (int kind = 0; kind < kinds; ++kind) so_far[kind].emplace_back(scratch, rows, width);
  }
  double* values = scratch.take<double>(rows);
  double* means = scratch.take<double>(rows * width);

  parallel_parts(keys, kKeys, parts, [&](int part, int64_t begin, int64_t end) {
    for (int kind = 0; kind < kinds; ++kind) {
      Softmax& own = so_far[kind][size_t(part)];
      own.clear(rows, width);
      // Usually no product is greater than that of the own pair. Starting from it shows at once which weights vanish
      // beside it.
      if (sides[kind].own)
        for (int64_t r = 0; r < rows; ++r) own.greatest[r] = sides[kind].own_product(r);
    }
    for (int64_t key = begin; key < end; key += kKeys) {
      const int64_t count = std::min(kKeys, end - key);
      const float* partners = sides[0].queue + key * width;
      for (int64_t first = 0; first < rows; first += kRows)
        for (int kind = 0; kind < kinds; ++kind)
          add_block(sides[kind], partners, width, first, std::min(kRows, rows - first), key, count,
                    so_far[kind][size_t(part)], products[size_t(part)]);
    }
  });

  float* gradient = dstudent.mutable_data<float>();
  const double factor = 1 / (sides[0].temperature * double(rows));
  parallel_ranges(rows, 1, width * parts * kinds * 4, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Softmax *of_student = so_far[0].data(), *of_teacher = so_far[1].data();
      double* mean = means + r * width;
      std::fill_n(mean, width, 0.0);
      const float* row = sides[0].rows + r * width;
      // The mean of the student's partners under the target; its product with the row is the mean logit.
      double entropy = 0;
      if (taught) {
        const Joined target(sides[1], of_teacher, parts, r);
        target.add_mean(sides[1], sides[0], of_teacher, parts, r, 1, mean);
        entropy = target.slope / target.sum / sides[1].temperature - std::log(target.sum);
      } else {
        for (int64_t d = 0; d < width; ++d) mean[d] = double(sides[0].own[r * width + d]);
      }
      const Joined guess(sides[0], of_student, parts, r);
      double chosen = 0;
      for (int64_t d = 0; d < width; ++d) chosen += double(row[d]) * mean[d];
      values[r] = std::log(guess.sum) - (chosen - guess.greatest) / sides[0].temperature;
      if (p.divergence) values[r] += entropy;
      for (int64_t d = 0; d < width; ++d) mean[d] = -mean[d];
      guess.add_mean(sides[0], sides[0], of_student, parts, r, 1, mean);
      for (int64_t d = 0; d < width; ++d) gradient[r * width + d] = float(factor * mean[d]);
    }
  });
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) total += values[r];
  loss.mutable_data<float>()[0] = float(rows ? total / double(rows) : 0);
}

void queue_push(Context&, const Tensor& rows, Tensor& cursor, Tensor& queue) {
  const int64_t count = rows.shape()[0], width = rows.shape()[1], size = queue.shape()[0];
  COSS_ASSERT(queue.shape()[1] == width);
  int64_t& at = cursor.mutable_data<int64_t>()[0];
  const float* from = rows.data<float>();
  float* to = queue.mutable_data<float>();
  for (int64_t r = std::max<int64_t>(0, count - size); r < count; ++r)
    std::copy_n(from + r * width, width, to + (at + r) % size * width);
  at += count;
}

}  // namespace coss::cpu
