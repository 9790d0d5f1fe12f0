// Losses over relations between the rows of a batch, from their inner products: value and gradient in one call. Sums
// over the batch are in double and in a fixed order.
//
// The matrices (N,N) are small and stay in the L2 cache; a block has one row of them, its threads the columns. Only RKD
// has more work than that: 2 N^3 angles (each is computed twice, so that no thread adds to what another one writes),
// about 30 instructions each, and no memory beyond a few N^2.
#include <algorithm>

#include "engine/cuda/device.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;

// One block: out[0] = the sum of n values times factor.
__global__ void __launch_bounds__(kThreads) relation_total(const double* values, float* out, double factor, int n) {
  double own = 0;
  for (int i = int(threadIdx.x); i < n; i += kThreads) own += values[i];
  const double total = block_sum<kThreads>(own);
  if (threadIdx.x == 0) out[0] = float(total * factor);
}

// All threads of a block get the sum of n values.
__device__ inline double sum_of(const double* values, int n) {
  double own = 0;
  for (int i = int(threadIdx.x); i < n; i += kThreads) own += values[i];
  return block_sum<kThreads>(own);
}
__device__ inline float greatest_of(const float* values, int n) {
  float own = 0;
  for (int i = int(threadIdx.x); i < n; i += kThreads) own = fmaxf(own, values[i]);
  return block_max<kThreads>(own);
}

// |x_i - x_j|^2 from inner products; 0 for rows that are equal but for rounding.
__device__ inline float square_distance(const float* gram, int64_t n, int64_t i, int64_t j) {
  const float lengths = gram[i * (n + 1)] + gram[j * (n + 1)], square = lengths - 2 * gram[i * n + j];
  return i != j && square > lengths * kSmallestSquareShare ? square : 0.0f;
}

__device__ inline float clamped_to_one(float x) { return fminf(fmaxf(x, -1.0f), 1.0f); }

// --- SP and PKT ----------------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    sp_rows(const float* student, const float* teacher, float* dgram, double* values, int n) {
  const float *s = student + int64_t(blockIdx.x) * n, *t = teacher + int64_t(blockIdx.x) * n;
  float* gradient = dgram + int64_t(blockIdx.x) * n;
  double ss = 0, tt = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    ss += double(s[j]) * double(s[j]);
    tt += double(t[j]) * double(t[j]);
  }
  const double length = sqrt(block_sum<kThreads>(ss)), teacher_length = sqrt(block_sum<kThreads>(tt));
  const float of_s = float(1 / (length > 1e-12 ? length : 1e-12));
  const float of_t = float(1 / (teacher_length > 1e-12 ? teacher_length : 1e-12));
  double squares = 0, along = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float unit = s[j] * of_s, difference = unit - t[j] * of_t;
    squares += double(difference) * double(difference);
    along += double(difference) * double(unit);
  }
  const double total = block_sum<kThreads>(squares), sum_along = block_sum<kThreads>(along);
  const double share = 1 / (double(n) * double(n));
  if (threadIdx.x == 0) values[blockIdx.x] = total;
  const float inward = length > 1e-12 ? float(sum_along) : 0.0f;  // a clamped norm is a constant
  const float factor = float(2 * share * double(of_s));
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float unit = s[j] * of_s;
    gradient[j] = (unit - t[j] * of_t - unit * inward) * factor;
  }
}

__global__ void __launch_bounds__(kThreads)
    pkt_rows(const float* student, const float* teacher, float* dcosines, double* values, int n) {
  constexpr float kEps = 1e-7f;
  const float *s = student + int64_t(blockIdx.x) * n, *t = teacher + int64_t(blockIdx.x) * n;
  float* gradient = dcosines + int64_t(blockIdx.x) * n;
  double sum_s = 0, sum_t = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    sum_s += double(s[j]) * 0.5 + 0.5;
    sum_t += double(t[j]) * 0.5 + 0.5;
  }
  sum_s = block_sum<kThreads>(sum_s);
  sum_t = block_sum<kThreads>(sum_t);
  const double inverse_s = 1 / (sum_s > 1e-12 ? sum_s : 1e-12), inverse_t = 1 / (sum_t > 1e-12 ? sum_t : 1e-12);
  const float of_s = float(inverse_s / 2), of_t = float(inverse_t / 2);
  double value = 0, along = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float p = (s[j] + 1) * of_s, q = (t[j] + 1) * of_t, ratio = q / (p + kEps);
    value += double(q) * double(logf((q + kEps) / (p + kEps)));
    along += double(ratio) * double(p);
    gradient[j] = ratio;
  }
  const double total = block_sum<kThreads>(value);
  const float mean = float(block_sum<kThreads>(along));
  if (threadIdx.x == 0) values[blockIdx.x] = total;
  const float factor = float(inverse_s / 2 / (double(n) * double(n)));
  for (int j = int(threadIdx.x); j < n; j += kThreads) gradient[j] = (mean - gradient[j]) * factor;
}

}  // namespace

void sp_loss(Context& ctx, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  double* values = static_cast<double*>(ctx.workspace(size_t(n) * sizeof(double)));
  launch(ctx, {"sp_loss", unsigned(n), kThreads}, sp_rows, student_gram.data<float>(), teacher_gram.data<float>(),
         dgram.mutable_data<float>(), values, int(n));
  launch(ctx, {"relation_total", 1, kThreads}, relation_total, values, loss.mutable_data<float>(), 1 / double(n * n),
         int(n));
}

void pkt_loss(Context& ctx, const Tensor& student_cosines, const Tensor& teacher_cosines, Tensor& loss,
              Tensor& dcosines) {
  const int64_t n = student_cosines.shape()[0];
  double* values = static_cast<double*>(ctx.workspace(size_t(n) * sizeof(double)));
  launch(ctx, {"pkt_loss", unsigned(n), kThreads}, pkt_rows, student_cosines.data<float>(),
         teacher_cosines.data<float>(), dcosines.mutable_data<float>(), values, int(n));
  launch(ctx, {"relation_total", 1, kThreads}, relation_total, values, loss.mutable_data<float>(), 1 / double(n * n),
         int(n));
}

// --- RKD -----------------------------------------------------------------------------------------------------------

namespace {

// The relations of the student's or the teacher's rows: inner products (N,N), 1 / distance (N,N; 0 where rows are
// equal), sums of the distances of each row from the others.
struct Relations {
  const float* gram;
  float* inverses;
  double* sums;
};

__device__ inline float distance_of(float inverse) {
  return inverse > 0 ? fmaxf(1 / inverse, kShortestDistance) : kShortestDistance;
}

__global__ void __launch_bounds__(kThreads) rkd_measure(Relations student, Relations teacher, int n) {
  const Relations of = blockIdx.y == 0 ? student : teacher;
  const int64_t i = blockIdx.x;
  double own = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float square = square_distance(of.gram, n, i, j), inverse = square > 0 ? 1 / sqrtf(square) : 0.0f;
    of.inverses[i * n + j] = inverse;
    if (j != i) own += double(distance_of(inverse));
  }
  const double total = block_sum<kThreads>(own);
  if (threadIdx.x == 0) of.sums[i] = total;
}

// All threads get the mean distance.
__device__ inline double mean_distance(const Relations& of, int n) {
  const double total = sum_of(of.sums, n);
  return n > 1 ? total / (double(n) * double(n - 1)) : 1;
}

// The distance losses of a row, and their gradient by the student's mean distance.
__global__ void __launch_bounds__(kThreads)
    rkd_distances(Relations student, Relations teacher, double* losses, double* along, int n) {
  const float scale_s = float(1 / mean_distance(student, n)), scale_t = float(1 / mean_distance(teacher, n));
  const int64_t i = blockIdx.x;
  double loss = 0, product = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    if (j == i) continue;
    const float s = distance_of(student.inverses[i * n + j]) * scale_s;
    const float difference = s - distance_of(teacher.inverses[i * n + j]) * scale_t, slope = clamped_to_one(difference);
    loss += double(slope * (difference - 0.5f * slope));
    product += double(slope * s);
  }
  loss = block_sum<kThreads>(loss);
  product = block_sum<kThreads>(product);
  if (threadIdx.x > 0) return;
  losses[i] = loss;
  along[i] = product;
}

// The cosine of the angle at j between i and k.
__device__ inline float cosine_at(const Relations& of, int64_t n, int64_t j, int64_t k, float product, float shift,
                                  float inverse) {
  return ((product - of.gram[j * n + k]) + shift) * (of.inverses[j * n + k] * inverse);
}

// Block i; a warp has every eighth corner j, its lanes have the rows k. through[i * n + j] becomes the gradient of the
// product (i, j), without the distance loss; turns[i * n + j] that of the squared distance.
__global__ void __launch_bounds__(kThreads) rkd_corners(Relations student, Relations teacher, float* through,
                                                        float* turns, double* losses, float factor, int n) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t i = blockIdx.x;
  double total = 0;
  for (int64_t j = warp; j < n; j += kThreads / kWarp) {
    const float length_s = student.inverses[j * n + i], length_t = teacher.inverses[j * n + i];
    const float shift_s = student.gram[j * (n + 1)] - student.gram[j * n + i];
    const float shift_t = teacher.gram[j * (n + 1)] - teacher.gram[j * n + i];
    float value = 0, of_product = 0, of_cosine = 0;
    for (int k = lane; k < n; k += kWarp) {
      const float cosine = cosine_at(student, n, j, k, student.gram[i * n + k], shift_s, length_s);
      const float difference = cosine - cosine_at(teacher, n, j, k, teacher.gram[i * n + k], shift_t, length_t);
      const float slope = clamped_to_one(difference);
      value += slope * (difference - 0.5f * slope);
      of_product += slope * student.inverses[j * n + k];
      of_cosine += slope * cosine;
    }
    total += double(value);
    of_product = warp_sum(of_product);
    of_cosine = warp_sum(of_cosine);
    if (lane == 0) {
      through[i * n + j] = -factor * of_product * length_s;
      turns[i * n + j] = -factor * of_cosine * (length_s * length_s);
    }
  }
  total = block_sum<kThreads>(total);
  if (threadIdx.x == 0) losses[i] = total;
}

struct Distances {
  const double* along;
  double weight;
};

// Block i; a thread has a row k and goes through the corners j. It sums the gradient of the product (i, k) where i and
// k are the ends of an angle, then adds the other parts except those on the diagonal.
__global__ void __launch_bounds__(kThreads)
    rkd_products(Relations student, Relations teacher, Distances distances, const float* turns, float* through,
                 float* dgram, double* diagonal, float factor, int n) {
  const double mean = mean_distance(student, n);
  const float scale_s = float(1 / mean), scale_t = float(1 / mean_distance(teacher, n));
  const double pairs = double(n) * double(n - 1);
  const double along = sum_of(distances.along, n);
  const float of_mean = n > 1 ? float(along / pairs) : 0.0f;
  const float of_distance = float(distances.weight / (double(n) * double(n)) / mean / 2);
  const int64_t i = blockIdx.x;
  double own = 0;
  for (int k = int(threadIdx.x); k < n; k += kThreads) {
    const float product_s = student.gram[i * n + k], product_t = teacher.gram[i * n + k];
    float sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      const float length_s = student.inverses[j * n + i], length_t = teacher.inverses[j * n + i];
      const float shift_s = student.gram[j * (n + 1)] - student.gram[j * n + i];
      const float shift_t = teacher.gram[j * (n + 1)] - teacher.gram[j * n + i];
      const float difference = cosine_at(student, n, j, k, product_s, shift_s, length_s) -
                               cosine_at(teacher, n, j, k, product_t, shift_t, length_t);
      sum += clamped_to_one(difference) * (student.inverses[j * n + k] * length_s);
    }
    const float inverse = student.inverses[i * n + k];
    float of_square = turns[i * n + k];
    if (k != i && inverse < 1 / kShortestDistance) {  // where a distance is clamped it is a constant
      const float difference = distance_of(inverse) * scale_s - distance_of(teacher.inverses[i * n + k]) * scale_t;
      of_square += (clamped_to_one(difference) - of_mean) * of_distance * inverse;
    }
    const float of_product = through[i * n + k] - of_square;
    through[i * n + k] = of_product;
    dgram[i * n + k] = sum * factor + 2 * of_product;
    own += double(of_square);
  }
  own = block_sum<kThreads>(own);
  if (threadIdx.x == 0) diagonal[i] = own;
}

// A thread has a column j: adds to the product (j, j) what all products with row j give to it.
__global__ void __launch_bounds__(kThreads)
    rkd_diagonal(const float* through, const double* diagonal, float* dgram, int n) {
  const int64_t j = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (j >= n) return;
  double sum = diagonal[j] - 2 * double(through[j * (n + 1)]);
  for (int64_t i = 0; i < n; ++i) sum -= double(through[i * n + j]);
  dgram[j * (n + 1)] += float(sum);
}

__global__ void __launch_bounds__(kThreads)
    rkd_terms(const double* distances, const double* angles, RkdParams p, float* terms, int n) {
  const double rows = double(n);
  const double distance = sum_of(distances, n) / (rows * rows), angle = sum_of(angles, n) / (rows * rows * rows);
  if (threadIdx.x > 0) return;
  terms[0] = float(double(p.distance_weight) * distance + double(p.angle_weight) * angle);
  terms[1] = float(distance);
  terms[2] = float(angle);
}

}  // namespace

void rkd_loss(Context& ctx, const RkdParams& p, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& terms,
              Tensor& dgram) {
  const int64_t n = student_gram.shape()[0], all = n * n;
  double* sums = static_cast<double*>(ctx.workspace(size_t(6 * n) * sizeof(double) + size_t(4 * all) * sizeof(float)));
  float* matrices = reinterpret_cast<float*>(sums + 6 * n);
  const Relations s{student_gram.data<float>(), matrices, sums},
      t{teacher_gram.data<float>(), matrices + all, sums + n};
  float *through = matrices + 2 * all, *turns = matrices + 3 * all;
  double *distances = sums + 2 * n, *along = sums + 3 * n, *angles = sums + 4 * n, *diagonal = sums + 5 * n;
  const float factor = float(double(p.angle_weight) / double(all) / double(n));
  const Distances of_distances{along, double(p.distance_weight)};
  float* out = dgram.mutable_data<float>();
  launch(ctx, {"rkd_measure", dim3(unsigned(n), 2), kThreads}, rkd_measure, s, t, int(n));
  launch(ctx, {"rkd_distances", unsigned(n), kThreads}, rkd_distances, s, t, distances, along, int(n));
  launch(ctx, {"rkd_corners", unsigned(n), kThreads}, rkd_corners, s, t, through, turns, angles, factor, int(n));
  launch(ctx, {"rkd_products", unsigned(n), kThreads}, rkd_products, s, t, of_distances, turns, through, out, diagonal,
         factor, int(n));
  launch(ctx, {"rkd_diagonal", blocks_for(n, kThreads), kThreads}, rkd_diagonal, through, diagonal, out, int(n));
  launch(ctx, {"rkd_terms", 1, kThreads}, rkd_terms, distances, angles, p, terms.mutable_data<float>(), int(n));
}

// --- EGA -----------------------------------------------------------------------------------------------------------

namespace {

__global__ void __launch_bounds__(kThreads) ega_squares(const float* student, const float* teacher, const float* nodes,
                                                        double* edge_sums, double* node_sums, int n) {
  const int64_t row = int64_t(blockIdx.x) * n;
  double edges = 0, between = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const double edge = double(student[row + j]) - double(teacher[row + j]);
    const double node = double(nodes[row + j]) - (j == int(blockIdx.x) ? 1 : 0);
    edges += edge * edge;
    between += node * node;
  }
  edges = block_sum<kThreads>(edges);
  between = block_sum<kThreads>(between);
  if (threadIdx.x > 0) return;
  edge_sums[blockIdx.x] = edges;
  node_sums[blockIdx.x] = between;
}

__global__ void __launch_bounds__(kThreads)
    ega_gradient(const float* student, const float* teacher, const float* nodes, const double* edge_sums,
                 const double* node_sums, EgaParams p, float* terms, float* dedges, float* dnodes, int n) {
  const double edge = sqrt(sum_of(edge_sums, n)), node = sqrt(sum_of(node_sums, n));
  const float by_edge = edge > 0 ? float(double(p.edge_weight) / edge) : 0.0f;
  const float by_node = node > 0 ? float(double(p.node_weight) / node) : 0.0f;
  const int64_t row = int64_t(blockIdx.x) * n;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    dedges[row + j] = (student[row + j] - teacher[row + j]) * by_edge;
    dnodes[row + j] = (nodes[row + j] - (j == int(blockIdx.x) ? 1.0f : 0.0f)) * by_node;
  }
  if (blockIdx.x > 0 || threadIdx.x > 0) return;
  terms[0] = float(double(p.node_weight) * node + double(p.edge_weight) * edge);
  terms[1] = float(node);
  terms[2] = float(edge);
}

}  // namespace

void ega_loss(Context& ctx, const EgaParams& p, const Tensor& student_edges, const Tensor& teacher_edges,
              const Tensor& nodes, Tensor& terms, Tensor& dedges, Tensor& dnodes) {
  const int64_t n = nodes.shape()[0];
  double* sums = static_cast<double*>(ctx.workspace(size_t(2 * n) * sizeof(double)));
  launch(ctx, {"ega_squares", unsigned(n), kThreads}, ega_squares, student_edges.data<float>(),
         teacher_edges.data<float>(), nodes.data<float>(), sums, sums + n, int(n));
  launch(ctx, {"ega_gradient", unsigned(n), kThreads}, ega_gradient, student_edges.data<float>(),
         teacher_edges.data<float>(), nodes.data<float>(), sums, sums + n, p, terms.mutable_data<float>(),
         dedges.mutable_data<float>(), dnodes.mutable_data<float>(), int(n));
}

// --- IRG -----------------------------------------------------------------------------------------------------------

namespace {

__global__ void __launch_bounds__(kThreads)
    irg_greatest(const float* student, const float* teacher, float* most_s, float* most_t, int n) {
  const int64_t i = blockIdx.x;
  float of_s = 0, of_t = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    of_s = fmaxf(of_s, square_distance(student, n, i, j));
    of_t = fmaxf(of_t, square_distance(teacher, n, i, j));
  }
  of_s = block_max<kThreads>(of_s);
  of_t = block_max<kThreads>(of_t);
  if (threadIdx.x > 0) return;
  most_s[i] = of_s;
  most_t[i] = of_t;
}

// sums (3,N): squared differences, products with the student's own, how many distances are the greatest.
__global__ void __launch_bounds__(kThreads) irg_rows(const float* student, const float* teacher, const float* most_s,
                                                     const float* most_t, double* sums, int n) {
  const float top_s = greatest_of(most_s, n), top_t = greatest_of(most_t, n);
  const float over_s = top_s > 0 ? 1 / top_s : 0.0f, over_t = top_t > 0 ? 1 / top_t : 0.0f;
  const int64_t i = blockIdx.x;
  double squares = 0, products = 0;
  int greatest = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float raw = square_distance(student, n, i, j), s = raw * over_s;
    const float difference = s - square_distance(teacher, n, i, j) * over_t;
    squares += double(difference) * double(difference);
    products += double(difference) * double(s);
    greatest += raw == top_s;
  }
  squares = block_sum<kThreads>(squares);
  products = block_sum<kThreads>(products);
  greatest = block_sum<kThreads>(greatest);
  if (threadIdx.x > 0) return;
  sums[i] = squares;
  sums[n + i] = products;
  sums[2 * int64_t(n) + i] = double(greatest);
}

__global__ void __launch_bounds__(kThreads)
    irg_gradient(const float* student, const float* teacher, const float* most_s, const float* most_t,
                 const double* sums, float* dgram, double* diagonal, int n) {
  const float top_s = greatest_of(most_s, n), top_t = greatest_of(most_t, n);
  const float over_s = top_s > 0 ? 1 / top_s : 0.0f, over_t = top_t > 0 ? 1 / top_t : 0.0f;
  const double products = sum_of(sums + n, n), greatest = sum_of(sums + 2 * int64_t(n), n);
  const double factor = 2 / (double(n) * double(n));
  // The greatest distance is in the denominator of all. Its gradient is shared by all pairs that have this distance.
  const float of_most = float(factor * products / greatest), of_each = float(factor);
  const int64_t i = blockIdx.x;
  double own = 0;
  for (int j = int(threadIdx.x); j < n; j += kThreads) {
    const float raw = square_distance(student, n, i, j);
    const float difference = raw * over_s - square_distance(teacher, n, i, j) * over_t;
    const float slope = difference * of_each - (raw == top_s ? of_most : 0.0f), by = raw > 0 ? slope * over_s : 0.0f;
    own += double(by);
    dgram[i * n + j] = -2 * by;
  }
  own = block_sum<kThreads>(own);
  if (threadIdx.x == 0) diagonal[i] = own;
}

__global__ void __launch_bounds__(kThreads) irg_diagonal(const double* diagonal, float* dgram, int n) {
  const int64_t j = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (j >= n) return;
  double sum = diagonal[j];
  for (int64_t i = 0; i < n; ++i)
    if (i != j) sum -= double(dgram[i * n + j]) / 2;
  dgram[j * (n + 1)] = float(sum);
}

__global__ void __launch_bounds__(kThreads) irg_path_squares(const float* student, const float* teacher, double* of_s,
                                                             double* of_t, int64_t width, int64_t teacher_width) {
  const int64_t row = blockIdx.x;
  double s = 0, t = 0;
  for (int64_t d = threadIdx.x; d < width; d += kThreads) {
    const double x = double(student[row * width + d]);
    s += x * x;
  }
  for (int64_t d = threadIdx.x; d < teacher_width; d += kThreads) {
    const double x = double(teacher[row * teacher_width + d]);
    t += x * x;
  }
  s = block_sum<kThreads>(s);
  t = block_sum<kThreads>(t);
  if (threadIdx.x > 0) return;
  of_s[row] = s;
  of_t[row] = t;
}

// One block; of_s becomes the factor of each row in its gradient.
__global__ void __launch_bounds__(kThreads) irg_path_factors(double* of_s, const double* of_t, float* loss, int n) {
  COSS_SHARED(double, greatest, 2);
  if (threadIdx.x == 0) {
    double most_s = 0, most_t = 0;
    for (int i = 0; i < n; ++i) {
      most_s = most_s < of_s[i] ? of_s[i] : most_s;
      most_t = most_t < of_t[i] ? of_t[i] : most_t;
    }
    greatest[0] = most_s;
    greatest[1] = most_t;
  }
  __syncthreads();
  const double most_s = greatest[0], most_t = greatest[1];
  const double over_s = most_s > 0 ? 1 / most_s : 0, over_t = most_t > 0 ? 1 / most_t : 0;
  double total = 0, along = 0;
  int count = 0;
  for (int i = int(threadIdx.x); i < n; i += kThreads) {
    const double difference = of_s[i] * over_s - of_t[i] * over_t;
    total += difference * difference;
    along += 2 * difference * of_s[i] * over_s;
    count += of_s[i] == most_s;
  }
  total = block_sum<kThreads>(total);
  along = block_sum<kThreads>(along);
  count = block_sum<kThreads>(count);
  if (threadIdx.x == 0) loss[0] = float(total / n);
  for (int i = int(threadIdx.x); i < n; i += kThreads) {
    const double of_most = of_s[i] == most_s ? along / count : 0;
    of_s[i] = 2 * over_s * (2 * (of_s[i] * over_s - of_t[i] * over_t) - of_most) / n;
  }
}

__global__ void __launch_bounds__(kThreads)
    irg_path_gradient(const float* student, const double* factors, float* dstudent, int64_t width) {
  const int64_t row = blockIdx.x;
  const float factor = float(factors[row]);
  for (int64_t d = threadIdx.x; d < width; d += kThreads) dstudent[row * width + d] = student[row * width + d] * factor;
}

}  // namespace

void irg_loss(Context& ctx, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  double* sums = static_cast<double*>(ctx.workspace(size_t(4 * n) * sizeof(double) + size_t(2 * n) * sizeof(float)));
  double* diagonal = sums + 3 * n;
  float *most_s = reinterpret_cast<float*>(sums + 4 * n), *most_t = most_s + n;
  const float *s = student_gram.data<float>(), *t = teacher_gram.data<float>();
  float* out = dgram.mutable_data<float>();
  launch(ctx, {"irg_greatest", unsigned(n), kThreads}, irg_greatest, s, t, most_s, most_t, int(n));
  launch(ctx, {"irg_rows", unsigned(n), kThreads}, irg_rows, s, t, most_s, most_t, sums, int(n));
  launch(ctx, {"irg_gradient", unsigned(n), kThreads}, irg_gradient, s, t, most_s, most_t, sums, out, diagonal, int(n));
  launch(ctx, {"irg_diagonal", blocks_for(n, kThreads), kThreads}, irg_diagonal, diagonal, out, int(n));
  launch(ctx, {"relation_total", 1, kThreads}, relation_total, sums, loss.mutable_data<float>(), 1 / double(n * n),
         int(n));
}

void irg_path_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t n = student.shape()[0], width = student.numel() / n, teacher_width = teacher.numel() / n;
  double* squares = static_cast<double*>(ctx.workspace(size_t(2 * n) * sizeof(double)));
  launch(ctx, {"irg_path_squares", unsigned(n), kThreads}, irg_path_squares, student.data<float>(),
         teacher.data<float>(), squares, squares + n, width, teacher_width);
  launch(ctx, {"irg_path_factors", 1, kThreads}, irg_path_factors, squares, squares + n, loss.mutable_data<float>(),
         int(n));
  launch(ctx, {"irg_path_gradient", unsigned(n), kThreads}, irg_path_gradient, student.data<float>(), squares,
         dstudent.mutable_data<float>(), width);
}

}  // namespace coss::cuda
