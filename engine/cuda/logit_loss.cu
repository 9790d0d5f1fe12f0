// Losses between the logits of student and teacher: value and gradient in one call, with a block per row. Both matrices
// are read once from memory and the gradient is written once; a row is read again from the cache. Sums over the batch
// are in double and in a fixed order.
#include "engine/cuda/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cuda {
namespace {

using Kind = SoftCrossEntropyParams::Kind;

constexpr int kThreads = 256;
constexpr int kSumThreads = 1024;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

size_t rounded_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

// The factors of a row's gradient.
struct SoftFactors {
  float by_student, by_teacher;  // 1 / temperature
  float factor;                  // of the gradient: weight / rows, halved for the symmetric divergence
};

template <Kind kKind, class T>
__global__ void __launch_bounds__(kThreads)
    soft_cross_entropy_rows(const T* student, const T* teacher, T* dstudent, double* values, int width, SoftFactors p) {
  const int64_t row = blockIdx.x;
  const T *s = student + row * width, *t = teacher + row * width;
  T* gradient = dstudent + row * width;
  const SoftmaxRow of_s = softmax_row<kThreads, 1>(s, row, width, p.by_student * kLog2E);
  const SoftmaxRow of_t = softmax_row<kThreads, 1>(t, row, width, p.by_teacher * kLog2E);
  const float share = p.factor * p.by_student;
  const float to_student = share / of_s.sum, to_teacher = share / of_t.sum;
  float forward = 0, backward = 0;
  for (int i = int(threadIdx.x); i < width; i += kThreads) {
    const float a = (to_float(s[i]) - of_s.greatest) * p.by_student;
    const float b = (to_float(t[i]) - of_t.greatest) * p.by_teacher;
    const float exp_a = exp2f(a * kLog2E), exp_b = exp2f(b * kLog2E);
    forward += kKind == Kind::cross_entropy ? -exp_b * a : exp_b * (b - a);
    if constexpr (kKind == Kind::symmetric)
      backward += exp_a * (a - b);
    else
      gradient[i] = from_float<T>(exp_a * to_student - exp_b * to_teacher);
  }
  const double cross = block_sum<kThreads>(double(forward)) / double(of_t.sum);
  if constexpr (kKind == Kind::symmetric) {
    // The denominators' logarithms cancel in the sum of both directions.
    const double reverse = block_sum<kThreads>(double(backward)) / double(of_s.sum);
    if (threadIdx.x == 0) values[row] = (cross + reverse) / 2;
    const float mean = float(reverse) - 1;
    for (int i = int(threadIdx.x); i < width; i += kThreads) {
      const float a = (to_float(s[i]) - of_s.greatest) * p.by_student;
      const float b = (to_float(t[i]) - of_t.greatest) * p.by_teacher;
      gradient[i] = from_float<T>(exp2f(a * kLog2E) * (a - b - mean) * to_student - exp2f(b * kLog2E) * to_teacher);
    }
  } else {
    if (threadIdx.x == 0)
      values[row] = cross + std::log(double(of_s.sum) / (kKind == Kind::cross_entropy ? 1.0 : double(of_t.sum)));
  }
}

// The factor of a row in DKD, computed on the device: temperature / number of rows with a label, or 0.
__global__ void __launch_bounds__(kSumThreads)
    dkd_share(const int32_t* labels, double* share, int64_t rows, float temperature) {
  int own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) own += labels[r] >= 0;
  const int counted = block_sum<kSumThreads>(own);
  if (threadIdx.x == 0) *share = counted > 0 ? double(temperature) / double(counted) : 0;
}

// values (2, rows): losses of the target class, then of the other classes.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dkd_rows(const T* student, const T* teacher, const int32_t* labels, const double* share, T* dstudent,
             double* values, int64_t rows, int width, DkdParams p) {
  const int64_t row = blockIdx.x;
  const T *s = student + row * width, *t = teacher + row * width;
  T* gradient = dstudent + row * width;
  const int label = labels[row];
  if (label < 0 || label >= width) {
    for (int i = int(threadIdx.x); i < width; i += kThreads) gradient[i] = from_float<T>(0);
    // A kernel cannot throw, so a label that is no class makes the loss NaN, which the run reports.
    if (threadIdx.x == 0) values[row] = values[rows + row] = label < 0 ? 0 : double(kNaN);
    return;
  }
  const float inverse = 1 / p.temperature;
  const SoftmaxRow of_s = softmax_row<kThreads, 1>(s, row, width, inverse * kLog2E, label);
  const SoftmaxRow of_t = softmax_row<kThreads, 1>(t, row, width, inverse * kLog2E, label);
  const auto odds = [&](float logit, const SoftmaxRow& others) {
    return (double(logit) - double(others.greatest)) / double(p.temperature) - std::log(double(others.sum));
  };
  const TargetClass target(odds(to_float(s[label]), of_s), odds(to_float(t[label]), of_t));
  const double of_target = double(p.target_weight) * *share * target.slope;
  const double of_others = double(p.other_weight) * *share;
  const float to_student = float((of_others - of_target) / double(of_s.sum));
  const float to_teacher = float(of_others / double(of_t.sum));
  float divergence = 0;
  for (int i = int(threadIdx.x); i < width; i += kThreads) {
    if (i == label) {
      gradient[i] = from_float<T>(float(of_target));
      continue;
    }
    const float a = (to_float(s[i]) - of_s.greatest) * inverse, b = (to_float(t[i]) - of_t.greatest) * inverse;
    const float exp_b = exp2f(b * kLog2E);
    divergence += exp_b * (b - a);
    gradient[i] = from_float<T>(exp2f(a * kLog2E) * to_student - exp_b * to_teacher);
  }
  const double other = block_sum<kThreads>(double(divergence)) / double(of_t.sum);
  if (threadIdx.x == 0) {
    values[row] = target.value;
    values[rows + row] = other + std::log(double(of_s.sum) / double(of_t.sum));
  }
}

// loss = factor * the sum of values.
__global__ void __launch_bounds__(kSumThreads)
    soft_cross_entropy_sum(const double* values, float* loss, int64_t rows, double factor) {
  double own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) own += values[r];
  const double total = block_sum<kSumThreads>(own);
  if (threadIdx.x == 0) *loss = float(factor * total);
}

__global__ void __launch_bounds__(kSumThreads)
    dkd_terms(const double* values, const double* share, float* terms, int64_t rows, DkdParams p) {
  double of_target = 0, of_others = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) {
    of_target += values[r];
    of_others += values[rows + r];
  }
  const double scale = double(p.temperature) * *share;
  const double target = scale * block_sum<kSumThreads>(of_target);
  const double other = scale * block_sum<kSumThreads>(of_others);
  if (threadIdx.x == 0) {
    terms[0] = float(double(p.target_weight) * target + double(p.other_weight) * other);
    terms[1] = float(target);
    terms[2] = float(other);
  }
}

}  // namespace

void soft_cross_entropy(Context& ctx, const SoftCrossEntropyParams& p, const Tensor& student, const Tensor& teacher,
                        Tensor& loss, Tensor& dstudent) {
  COSS_CHECK(p.student_temperature > 0 && p.teacher_temperature > 0,
             "[soft_cross_entropy] the temperatures must be positive");
  if (student.numel() == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  COSS_ASSERT(width < int64_t(1) << 30);
  double* values = static_cast<double*>(ctx.workspace(size_t(rows) * sizeof(double)));
  const double factor = double(p.weight) / double(rows);
  const SoftFactors factors{1 / p.student_temperature, 1 / p.teacher_temperature,
                            float(p.kind == Kind::symmetric ? factor / 2 : factor)};
  dispatch("soft_cross_entropy", student.dtype(), [&]<class T>() {
    const Grid grid{"soft_cross_entropy", unsigned(rows), kThreads};
    const auto run = [&](auto kernel) {
      launch(ctx, grid, kernel, student.data<T>(), teacher.data<T>(), dstudent.mutable_data<T>(), values, int(width),
             factors);
    };
    if (p.kind == Kind::cross_entropy)
      run(soft_cross_entropy_rows<Kind::cross_entropy, T>);
    else if (p.kind == Kind::divergence)
      run(soft_cross_entropy_rows<Kind::divergence, T>);
    else
      run(soft_cross_entropy_rows<Kind::symmetric, T>);
  });
  launch(ctx, {"soft_cross_entropy_sum", 1, kSumThreads}, soft_cross_entropy_sum, values, loss.mutable_data<float>(),
         rows, factor);
}

void dkd_loss(Context& ctx, const DkdParams& p, const Tensor& student, const Tensor& teacher, const Tensor& labels,
              Tensor& terms, Tensor& dstudent) {
  COSS_CHECK(p.temperature > 0, "[dkd_loss] the temperature must be positive");
  if (student.numel() == 0) return zero_bytes(ctx, terms.mutable_raw(), terms.bytes());
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  COSS_ASSERT(width < int64_t(1) << 30);
  const size_t share_bytes = rounded_up(sizeof(double));
  char* scratch = static_cast<char*>(ctx.workspace(share_bytes + 2 * size_t(rows) * sizeof(double)));
  double *share = reinterpret_cast<double*>(scratch), *values = reinterpret_cast<double*>(scratch + share_bytes);
  launch(ctx, {"dkd_share", 1, kSumThreads}, dkd_share, labels.data<int32_t>(), share, rows, p.temperature);
  dispatch("dkd_loss", student.dtype(), [&]<class T>() {
    launch(ctx, {"dkd_loss", unsigned(rows), kThreads}, dkd_rows<T>, student.data<T>(), teacher.data<T>(),
           labels.data<int32_t>(), share, dstudent.mutable_data<T>(), values, rows, int(width), p);
  });
  launch(ctx, {"dkd_terms", 1, kSumThreads}, dkd_terms, values, share, terms.mutable_data<float>(), rows, p);
}

}  // namespace coss::cuda
