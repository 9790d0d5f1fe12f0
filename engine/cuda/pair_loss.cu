// Losses that contrast the rows of a batch with one another, from their cosines, and one loss of neighboring rows (CC).
// A block takes a row of cosines, which is in the cache when it is read again. One more block adds the losses of the
// rows in double and in a fixed order. The matrices cost little beside the products that make them.
#include "engine/cuda/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 128, kSumThreads = 512;

void check_temperature(const char* kernel, float temperature) {
  COSS_CHECK(temperature > 0, std::string("[") + kernel + "] the temperature must be positive");
}

// terms[0] = factor * sum of values.
__global__ void __launch_bounds__(kSumThreads)
    pair_mean(const double* values, double factor, float* loss, int64_t rows) {
  double own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) own += values[r];
  const double total = block_sum<kSumThreads>(own);
  if (threadIdx.x == 0) *loss = float(factor * total);
}

// The first index of a row's greatest element; -1 where an element is NaN.
__device__ inline int place_of(const float* row, int width, float greatest) {
  int place = width;
  for (int j = int(threadIdx.x); j < width; j += kThreads)
    if (row[j] == greatest && j < place) place = j;
  // Below 2^24 a float holds every whole number.
  const float first = -block_max<kThreads>(-float(place));
  return first < float(width) ? int(first) : 0;
}

__global__ void __launch_bounds__(kThreads) nce_rows(const float* cosines, const int32_t* labels, float temperature,
                                                     float* dcosines, double* values, int width) {
  const int row = int(blockIdx.x);
  const float* x = cosines + int64_t(row) * width;
  float* gradient = dcosines + int64_t(row) * width;
  const int label = labels[row];
  float greatest = kMinusInfinity;
  int own_alike = 0;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    greatest = fmaxf(greatest, x[j]);
    own_alike += labels[j] == label;
  }
  greatest = block_max<kThreads>(greatest);
  const int alike = block_sum<kThreads>(own_alike), others = width - alike;
  const int top = place_of(x, width, greatest);
  double own_rest = 0;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    if (j != top) own_rest += double(expf((x[j] - greatest) / temperature));
  }
  // The most likely column is treated apart: only there may 1 - p be far smaller than p, and the sum of all others
  // gives it.
  const double rest = block_sum<kThreads>(own_rest), sum = rest + 1;
  const double of_alike = -1 / double(alike), of_others = others > 0 ? 1 / double(others) : 0;
  double own_loss = 0, own_mixed = 0;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    if (j == top) continue;
    const double p = double(expf((x[j] - greatest) / temperature)) / sum;
    const bool same = labels[j] == label;
    const double argument = (same ? p : 1 - p) + double(kNceEps);
    own_loss += (same ? of_alike : -of_others) * double(logf(float(argument)));
    own_mixed += p * (same ? of_alike : of_others) / argument;
  }
  const double loss = block_sum<kThreads>(own_loss), mixed = block_sum<kThreads>(own_mixed);
  const bool same = labels[top] == label;
  const double p = 1 / sum, argument = (same ? p : rest / sum) + double(kNceEps);
  const double by_top = (same ? of_alike : of_others) / argument;
  const double factor = 1 / (double(width) * double(temperature)), shift = mixed + p * by_top;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    if (j == top) {
      gradient[j] = float(p * (by_top * (rest / sum) - mixed) * factor);
      continue;
    }
    const double q = double(expf((x[j] - greatest) / temperature)) / sum;
    const bool like = labels[j] == label;
    const double by_p = (like ? of_alike : of_others) / ((like ? q : 1 - q) + double(kNceEps));
    gradient[j] = float(q * (by_p - shift) * factor);
  }
  if (threadIdx.x == 0) values[row] = loss + (same ? of_alike : -of_others) * log(argument);
}

// `others` is the sum of exp without the partner and the row itself. No two nearly equal numbers are subtracted, so
// rows that are nearly right stay exact.
__global__ void __launch_bounds__(kThreads)
    nt_xent_rows(const float* cosines, float temperature, float* dcosines, double* values, int width) {
  const int row = int(blockIdx.x), partner = row < width / 2 ? row + width / 2 : row - width / 2;
  const float* x = cosines + int64_t(row) * width;
  float* gradient = dcosines + int64_t(row) * width;
  float greatest = kMinusInfinity;
  for (int j = int(threadIdx.x); j < width; j += kThreads)
    if (j != row) greatest = fmaxf(greatest, x[j]);
  greatest = block_max<kThreads>(greatest);
  double own = 0;
  for (int j = int(threadIdx.x); j < width; j += kThreads)
    if (j != row && j != partner) own += double(expf((x[j] - greatest) / temperature));
  const double others = block_sum<kThreads>(own);
  const double difference = double(x[partner] - greatest) / double(temperature), sum = others + exp(difference);
  const double factor = 1 / (double(width) * double(temperature) * sum);
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    double g = 0;
    if (j == partner)
      g = -others * factor;
    else if (j != row)
      g = double(expf((x[j] - greatest) / temperature)) * factor;
    gradient[j] = float(g);
  }
  if (threadIdx.x == 0) values[row] = difference == 0 ? log1p(others) : log(sum) - difference;
}

// A block takes a row; the differences of the rows beside it are read again.
__global__ void __launch_bounds__(kThreads)
    cc_rows(const float* student, const float* teacher, float share, float* dstudent, float* dteacher, double* values,
            int64_t rows, int width) {
  const int64_t row = int64_t(blockIdx.x), first = row * width;
  float own = 0;
  for (int64_t i = first + threadIdx.x; i < first + width; i += kThreads) {
    const float difference = student[i] - teacher[i];
    const float next = row + 1 < rows ? fabsf(student[i + width] - teacher[i + width]) : 0.0f;
    const float before = row > 0 ? fabsf(student[i - width] - teacher[i - width]) : 0.0f;
    const float slope = (next + before) * share;
    const float g = difference > 0 ? slope : difference < 0 ? -slope : 0.0f;
    dstudent[i] = g;
    dteacher[i] = -g;
    own += fabsf(difference) * next;
  }
  const double total = block_sum<kThreads>(double(own));
  if (threadIdx.x == 0) values[row] = total;
}

// Distances of unit rows have the reverse order of cosines. values: (2, rows).
__global__ void __launch_bounds__(kThreads)
    smd_rows(const float* teacher_cosines, const float* cosines, float temperature, const float* cosine_weight,
             float* dcosines, double* values, int width) {
  const int row = int(blockIdx.x);
  const float *t = teacher_cosines + int64_t(row) * width, *x = cosines + int64_t(row) * width;
  float* gradient = dcosines + int64_t(row) * width;
  const float own = x[row];
  float most = kMinusInfinity, least = -kMinusInfinity;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    if (j != row && t[j] < own)
      most = fmaxf(most, x[j]);
    else
      least = fminf(least, x[j]);
  }
  most = block_max<kThreads>(most);
  least = -block_max<kThreads>(-least);
  int near_place = width, far_place = width;
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    const bool negative = j != row && t[j] < own;
    if (negative && x[j] == most && j < near_place) near_place = j;
    if (!negative && x[j] == least && j < far_place) far_place = j;
  }
  const int nearest = int(-block_max<kThreads>(-float(near_place)));
  int farthest = int(-block_max<kThreads>(-float(far_place)));
  if (farthest >= width) farthest = row;  // all are NaN
  const SmdPair negative =
      nearest < width ? SmdPair(double(t[nearest]), double(x[nearest]), double(temperature), false) : SmdPair();
  const SmdPair positive(farthest == row ? 1.0 : double(t[farthest]), double(x[farthest]), double(temperature), true);
  const double difference = positive.logit - negative.logit, share = softplus_slope(difference) / double(width);
  for (int j = int(threadIdx.x); j < width; j += kThreads) {
    double g = j == farthest ? share * positive.slope : j == nearest ? -share * negative.slope : 0.0;
    if (j == row) g -= double(*cosine_weight) / double(width);
    gradient[j] = float(g);
  }
  if (threadIdx.x > 0) return;
  values[row] = own == own ? softplus(difference) : double(own);
  values[width + row] = -double(own);
}

__global__ void __launch_bounds__(kSumThreads)
    smd_terms(const double* values, const float* cosine_weight, float* terms, int rows) {
  double distance = 0, cosine = 0;
  for (int r = int(threadIdx.x); r < rows; r += kSumThreads) {
    distance += values[r];
    cosine += values[rows + r];
  }
  distance = block_sum<kSumThreads>(distance) / double(rows);
  cosine = block_sum<kSumThreads>(cosine) / double(rows);
  if (threadIdx.x > 0) return;
  terms[0] = float(distance + double(*cosine_weight) * cosine);
  terms[1] = float(distance);
  terms[2] = float(cosine);
}

double* row_values(Context& ctx, int64_t count) {
  return static_cast<double*>(ctx.workspace(size_t(count) * sizeof(double)));
}

int rows_of(const Tensor& cosines) {
  COSS_ASSERT(cosines.shape()[0] < int64_t(1) << 24);
  return int(cosines.shape()[0]);
}

}  // namespace

void nce_loss(Context& ctx, float temperature, const Tensor& cosines, const Tensor& labels, Tensor& loss,
              Tensor& dcosines) {
  check_temperature("nce_loss", temperature);
  const int rows = rows_of(cosines);
  double* values = row_values(ctx, rows);
  launch(ctx, {"nce_loss", unsigned(rows), kThreads}, nce_rows, cosines.data<float>(), labels.data<int32_t>(),
         temperature, dcosines.mutable_data<float>(), values, rows);
  launch(ctx, {"pair_mean", 1, kSumThreads}, pair_mean, values, 1 / double(rows), loss.mutable_data<float>(), rows);
}

void cc_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent,
             Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1];
  const double share = rows > 1 ? 1 / double(rows - 1) : 0;
  double* values = row_values(ctx, rows);
  launch(ctx, {"cc_loss", unsigned(rows), kThreads}, cc_rows, student.data<float>(), teacher.data<float>(),
         float(share), dstudent.mutable_data<float>(), dteacher.mutable_data<float>(), values, rows, int(width));
  launch(ctx, {"pair_mean", 1, kSumThreads}, pair_mean, values, share, loss.mutable_data<float>(), rows);
}

void smd_loss(Context& ctx, float temperature, const Tensor& cosine_weight, const Tensor& teacher_cosines,
              const Tensor& cosines, Tensor& terms, Tensor& dcosines) {
  check_temperature("smd_loss", temperature);
  const int rows = rows_of(cosines);
  double* values = row_values(ctx, 2 * int64_t(rows));
  launch(ctx, {"smd_loss", unsigned(rows), kThreads}, smd_rows, teacher_cosines.data<float>(), cosines.data<float>(),
         temperature, cosine_weight.data<float>(), dcosines.mutable_data<float>(), values, rows);
  launch(ctx, {"smd_terms", 1, kSumThreads}, smd_terms, values, cosine_weight.data<float>(),
         terms.mutable_data<float>(), rows);
}

void nt_xent_loss(Context& ctx, float temperature, const Tensor& cosines, Tensor& loss, Tensor& dcosines) {
  check_temperature("nt_xent_loss", temperature);
  const int rows = rows_of(cosines);
  double* values = row_values(ctx, rows);
  launch(ctx, {"nt_xent_loss", unsigned(rows), kThreads}, nt_xent_rows, cosines.data<float>(), temperature,
         dcosines.mutable_data<float>(), values, rows);
  launch(ctx, {"pair_mean", 1, kSumThreads}, pair_mean, values, 1 / double(rows), loss.mutable_data<float>(), rows);
}

}  // namespace coss::cuda
