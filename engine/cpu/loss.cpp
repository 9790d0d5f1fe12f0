// Losses: value and gradient in one call. Sums over the batch are in double, in an order that depends on the number of
// threads only.
#include "engine/math/loss.h"

#include "engine/cpu/columns.h"
#include "engine/cpu/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& labels, Tensor& loss, Tensor& dlogits) {
  const int64_t rows = logits.shape().rows(), classes = logits.shape().back();
  const int32_t* label = labels.data<int32_t>();
  int64_t counted = 0;
  for (int64_t r = 0; r < rows; ++r) {
    COSS_CHECK(label[r] < classes, "[cross_entropy] label " + std::to_string(label[r]) + " of row " +
                                       std::to_string(r) + ", but there are only " + std::to_string(classes) +
                                       " classes");
    counted += label[r] >= 0;
  }
  const double share = counted ? 1 / double(counted) : 0;
  Scratch scratch(ctx, Scratch::size_of<double>(rows));
  double* values = scratch.take<double>(rows);
  dispatch("cross_entropy", logits.dtype(), [&]<class T>() {
    const T* in = logits.data<T>();
    T* out = dlogits.mutable_data<T>();
    parallel_ranges(rows, 1, classes * 32, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* row = in + r * classes;
        T* gradient = out + r * classes;
        values[r] = 0;
        if (label[r] < 0) {
          std::fill_n(gradient, classes, T());
          continue;
        }
        const SoftmaxRow sums = softmax_row(row, classes, 1.0f);
        const float factor = float(share / sums.sum);
        for_vectors(0, classes,
                    [&](int64_t i, auto n) { put(gradient + i, exp(get(row + i, n) - sums.greatest) * factor, n); });
        const float difference = float(row[label[r]]) - sums.greatest;
        gradient[label[r]] = T(float(share * (std::exp(double(difference)) / sums.sum - 1)));
        values[r] = std::log(sums.sum) - double(difference);
      }
    });
  });
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) total += values[r];
  loss.mutable_data<float>()[0] = float(total * share);
}

namespace {

// Adds s*t, s*s and t*t of kRows rows to rows[r][3] for each row, and to columns[3][width] for each column.
template <int kRows, class T>
void add_products(const T* s, const T* t, int64_t width, double* rows, float* columns) {
  Vec of_rows[kRows][3] = {};
  for_vectors(0, width, [&](int64_t c, auto n) {
    Vec of_columns[3] = {};
    for (int r = 0; r < kRows; ++r) {
      const Vec a = get(s + r * width + c, n), b = get(t + r * width + c, n);
      const Vec products[3] = {a * b, a * a, b * b};
      for (int k = 0; k < 3; ++k) {
        of_rows[r][k] += products[k];
        of_columns[k] += products[k];
      }
    }
    for (int k = 0; k < 3; ++k) put(columns + k * width + c, get(columns + k * width + c, n) + of_columns[k], n);
  });
  for (int r = 0; r < kRows; ++r)
    for (int k = 0; k < 3; ++k) rows[r * 3 + k] = sum(of_rows[r][k]);
}

}  // namespace

// The matrices are read twice: once for all products, of rows and of columns, and once for the gradient.
void coss_loss(Context& ctx, const CossParams& p, const Tensor& student, const Tensor& teacher, Tensor& terms,
               Tensor& dstudent) {
  constexpr int64_t kBlock = 64;  // rows whose column sums are added in float
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  const int parts = threads_for(int64_t(2 * student.bytes()));
  Scratch scratch(ctx, Scratch::size_of<double>(3 * rows) + Scratch::size_of<double>(parts * 3 * width) +
                           Scratch::size_of<float>(parts * 3 * width) + Scratch::size_of<float>(2 * rows) +
                           Scratch::size_of<float>(2 * width));
  double* row_products = scratch.take<double>(3 * rows);
  double* column_products = scratch.take<double>(parts * 3 * width);
  float* block_products = scratch.take<float>(parts * 3 * width);
  float* of_rows = scratch.take<float>(2 * rows);  // factors of teacher and student in the gradient
  float* of_columns = scratch.take<float>(2 * width);
  std::fill_n(column_products, parts * 3 * width, 0.0);

  dispatch("coss_loss", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    parallel_parts(rows, 4, parts, [&](int part, int64_t begin, int64_t end) {
      float* block = block_products + part * 3 * width;
      double* sums = column_products + part * 3 * width;
      for (int64_t first = begin; first < end; first += kBlock) {
        const int64_t last = std::min(first + kBlock, end);
        std::fill_n(block, 3 * width, 0.0f);
        int64_t r = first;
        for (; r + 4 <= last; r += 4) add_products<4>(s + r * width, t + r * width, width, row_products + 3 * r, block);
        for (; r < last; ++r) add_products<1>(s + r * width, t + r * width, width, row_products + 3 * r, block);
        for (int64_t i = 0; i < 3 * width; ++i) sums[i] += double(block[i]);
      }
    });
  });

  const double row_factor = -double(p.scale) * double(p.row_weight) / double(rows);
  const double column_factor = -double(p.scale) * double(p.column_weight) / double(width);
  double row_total = 0, column_total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const Cosine cosine(row_products[3 * r], row_products[3 * r + 1], row_products[3 * r + 2]);
    row_total += cosine.value;
    of_rows[2 * r] = float(row_factor * cosine.of_teacher);
    of_rows[2 * r + 1] = float(row_factor * cosine.of_student);
  }
  for (int64_t c = 0; c < width; ++c) {
    double products[3] = {};
    for (int part = 0; part < parts; ++part)
      for (int k = 0; k < 3; ++k) products[k] += column_products[(part * 3 + k) * width + c];
    const Cosine cosine(products[0], products[1], products[2]);
    column_total += cosine.value;
    of_columns[c] = float(column_factor * cosine.of_teacher);
    of_columns[width + c] = float(column_factor * cosine.of_student);
  }
  float* out = terms.mutable_data<float>();
  out[0] = float(row_factor * row_total + column_factor * column_total);
  out[1] = float(-row_total / double(rows));
  out[2] = float(-column_total / double(width));

  dispatch("coss_loss", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* gradient = dstudent.mutable_data<T>();
    parallel_parts(rows, 4, parts, [=](int, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float of_teacher = of_rows[2 * r], of_student = of_rows[2 * r + 1];
        for_vectors(0, width, [&](int64_t c, auto n) {
          const int64_t i = r * width + c;
          put(gradient + i,
              get(t + i, n) * (get(of_columns + c, n) + of_teacher) +
                  get(s + i, n) * (get(of_columns + width + c, n) + of_student),
              n);
        });
      }
    });
  });
}

}  // namespace coss::cpu
