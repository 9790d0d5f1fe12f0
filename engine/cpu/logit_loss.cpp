// Losses between the logits of student and teacher, row by row: value and gradient in one call. The exponentials of a
// row stay in scratch memory, which is in the cache, so each matrix comes from memory once.
#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cpu {

namespace {

using Kind = SoftCrossEntropyParams::Kind;

constexpr int64_t kBlock = 4096;  // elements of a row that are added in float

template <class T>
float greatest_of(const T* row, int64_t count) {
  Vec greatest = broadcast(-std::numeric_limits<float>::infinity());
  for_vectors(0, count, [&](int64_t i, auto n) {
    greatest = select(first_lanes(n), at_least(greatest, get(row + i, n)), greatest);
  });
  return max(greatest);
}

// s and t are the scaled logits minus the greatest of their row. This holds exp(s), exp(t) and sums over the row.
struct Exponentials {
  float *student, *teacher;  // of each element
  float student_top = 0, teacher_top = 0;
  double of_student = 0, of_teacher = 0;
  double forward = 0;   // sum of exp(t) * (t - s), or of -exp(t) * s for the cross-entropy
  double backward = 0;  // sum of exp(s) * (s - t), for the symmetric divergence
};

template <Kind kKind, class T>
void add_exponentials(const T* student, const T* teacher, int64_t width, float by_student, float by_teacher,
                      Exponentials& row) {
  row.student_top = greatest_of(student, width);
  row.teacher_top = greatest_of(teacher, width);
  row.of_student = row.of_teacher = row.forward = row.backward = 0;
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    Vec of_student{}, of_teacher{}, forward{}, backward{};
    for_vectors(begin, std::min(begin + kBlock, width), [&](int64_t i, auto n) {
      const Vec s = (get(student + i, n) - row.student_top) * by_student;
      const Vec t = (get(teacher + i, n) - row.teacher_top) * by_teacher;
      const Vec exp_s = keep(first_lanes(n), exp(s)), exp_t = keep(first_lanes(n), exp(t));
      put(row.student + i, exp_s, n);
      put(row.teacher + i, exp_t, n);
      of_student += exp_s;
      of_teacher += exp_t;
      forward += kKind == Kind::cross_entropy ? -exp_t * s : exp_t * (t - s);
      if constexpr (kKind == Kind::symmetric) backward += exp_s * (s - t);
    });
    row.of_student += sum(of_student);
    row.of_teacher += sum(of_teacher);
    row.forward += sum(forward);
    row.backward += sum(backward);
  }
}

// Returns the loss of one row, and writes its gradient times `factor`.
template <Kind kKind, class T>
double soft_row(const T* student, const T* teacher, int64_t width, float by_student, float by_teacher, double factor,
                Exponentials row, T* gradient) {
  add_exponentials<kKind>(student, teacher, width, by_student, by_teacher, row);
  const double share = (kKind == Kind::symmetric ? 0.5 : 1) * factor * double(by_student);
  const float to_student = float(share / row.of_student), to_teacher = float(share / row.of_teacher);
  if constexpr (kKind == Kind::symmetric) {
    const float mean = float(row.backward / row.of_student) - 1;
    for_vectors(0, width, [&](int64_t i, auto n) {
      const Vec s = (get(student + i, n) - row.student_top) * by_student;
      const Vec t = (get(teacher + i, n) - row.teacher_top) * by_teacher;
      put(gradient + i, get(row.student + i, n) * (s - t - mean) * to_student - get(row.teacher + i, n) * to_teacher,
          n);
    });
    // The denominators' logarithms cancel in the sum of both directions.
    return (row.forward / row.of_teacher + row.backward / row.of_student) / 2;
  } else {
    for_vectors(0, width, [&](int64_t i, auto n) {
      put(gradient + i, get(row.student + i, n) * to_student - get(row.teacher + i, n) * to_teacher, n);
    });
    const double denominator = kKind == Kind::cross_entropy ? row.of_student : row.of_student / row.of_teacher;
    return row.forward / row.of_teacher + std::log(denominator);
  }
}

template <class Body>
void with_kind(Kind kind, Body&& body) {
  switch (kind) {
    case Kind::cross_entropy:
      return body.template operator()<Kind::cross_entropy>();
    case Kind::divergence:
      return body.template operator()<Kind::divergence>();
    case Kind::symmetric:
      return body.template operator()<Kind::symmetric>();
  }
}

}  // namespace

void soft_cross_entropy(Context& ctx, const SoftCrossEntropyParams& p, const Tensor& student, const Tensor& teacher,
                        Tensor& loss, Tensor& dstudent) {
  COSS_CHECK(p.student_temperature > 0 && p.teacher_temperature > 0,
             "[soft_cross_entropy] the temperatures must be positive");
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  if (student.numel() == 0) {
    loss.mutable_data<float>()[0] = 0;
    return;
  }
  const int parts = threads_for(rows * width * 32);
  Scratch scratch(ctx, Scratch::size_of<double>(rows) + 2 * size_t(parts) * Scratch::size_of<float>(width));
  double* values = scratch.take<double>(rows);
  float* exponentials = scratch.take<float>(2 * parts * width);
  const float by_student = 1 / p.student_temperature, by_teacher = 1 / p.teacher_temperature;
  const double factor = double(p.weight) / double(rows);
  dispatch("soft_cross_entropy", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* gradient = dstudent.mutable_data<T>();
    with_kind(p.kind, [&]<Kind kKind>() {
      parallel_parts(rows, 1, parts, [=](int part, int64_t begin, int64_t end) {
        Exponentials row{.student = exponentials + 2 * part * width, .teacher = exponentials + (2 * part + 1) * width};
        for (int64_t r = begin; r < end; ++r)
          values[r] = soft_row<kKind>(s + r * width, t + r * width, width, by_student, by_teacher, factor, row,
                                      gradient + r * width);
      });
    });
  });
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) total += values[r];
  loss.mutable_data<float>()[0] = float(factor * total);
}

// The other classes are a softmax in which the target's logit is so low that its weight is zero.
void dkd_loss(Context& ctx, const DkdParams& p, const Tensor& student, const Tensor& teacher, const Tensor& labels,
              Tensor& terms, Tensor& dstudent) {
  constexpr float kNothing = -1e30f;
  COSS_CHECK(p.temperature > 0, "[dkd_loss] the temperature must be positive");
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  const int32_t* label = labels.data<int32_t>();
  int64_t counted = 0;
  for (int64_t r = 0; r < rows; ++r) {
    COSS_CHECK(label[r] < width, "[dkd_loss] label " + std::to_string(label[r]) + " of row " + std::to_string(r) +
                                     ", but there are only " + std::to_string(width) + " classes");
    counted += label[r] >= 0;
  }
  const int parts = threads_for(rows * width * 32);
  Scratch scratch(ctx, Scratch::size_of<double>(2 * rows) + 4 * size_t(parts) * Scratch::size_of<float>(width));
  double* values = scratch.take<double>(2 * rows);
  float* of_parts = scratch.take<float>(4 * parts * width);
  const float inverse = 1 / p.temperature;
  const double temperature = double(p.temperature), share = counted ? temperature / double(counted) : 0;
  const double target_share = double(p.target_weight) * share, other_share = double(p.other_weight) * share;
  dispatch("dkd_loss", student.dtype(), [&]<class T>() {
    const T *students = student.data<T>(), *teachers = teacher.data<T>();
    T* gradients = dstudent.mutable_data<T>();
    parallel_parts(rows, 1, parts, [=](int part, int64_t begin, int64_t end) {
      float *s = of_parts + 4 * part * width, *t = s + width;
      Exponentials row{.student = t + width, .teacher = t + 2 * width};
      for (int64_t r = begin; r < end; ++r) {
        T* gradient = gradients + r * width;
        const int32_t own = label[r];
        values[2 * r] = values[2 * r + 1] = 0;
        if (own < 0) {
          std::fill_n(gradient, width, T());
          continue;
        }
        for_vectors(0, width, [&](int64_t i, auto n) {
          put(s + i, get(students + r * width + i, n), n);
          put(t + i, get(teachers + r * width + i, n), n);
        });
        const float student_own = s[own], teacher_own = t[own];
        s[own] = t[own] = kNothing;
        add_exponentials<Kind::divergence>(s, t, width, inverse, inverse, row);
        const auto odds = [&](float logit, float top, double of_others) {
          return (double(logit) - double(top)) / temperature - std::log(of_others);
        };
        const TargetClass target(odds(student_own, row.student_top, row.of_student),
                                 odds(teacher_own, row.teacher_top, row.of_teacher));
        const double of_target = target_share * target.slope;
        const float to_student = float((other_share - of_target) / row.of_student);
        const float to_teacher = float(other_share / row.of_teacher);
        for_vectors(0, width, [&](int64_t i, auto n) {
          put(gradient + i, get(row.student + i, n) * to_student - get(row.teacher + i, n) * to_teacher, n);
        });
        gradient[own] = T(float(of_target));
        values[2 * r] = target.value;
        values[2 * r + 1] = row.forward / row.of_teacher + std::log(row.of_student / row.of_teacher);
      }
    });
  });
  double target = 0, other = 0;
  for (int64_t r = 0; r < rows; ++r) {
    target += values[2 * r];
    other += values[2 * r + 1];
  }
  float* out = terms.mutable_data<float>();
  out[0] = float(temperature * (target_share * target + other_share * other));
  out[1] = float(temperature * share * target);
  out[2] = float(temperature * share * other);
}

}  // namespace coss::cpu
