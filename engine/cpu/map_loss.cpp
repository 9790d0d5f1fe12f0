// Losses over feature maps: value and gradient in one call. An image is read from memory once; sums over the batch are
// in double, in an order that depends on the number of threads only.
#include "engine/cpu/columns.h"
#include "engine/cpu/squares.h"
#include "engine/cpu/tile.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// body(difference) returns a term of the sum and sets its part of the gradient; both are divided by the count.
template <class Body>
void mean_over_elements(Context& ctx, const char* name, const Tensor& student, const Tensor& teacher, Tensor& loss,
                        Tensor& dstudent, Body body) {
  constexpr int64_t kBlock = 8192;  // whose terms are added in float
  const int64_t count = student.numel(), blocks = (count + kBlock - 1) / kBlock;
  const float share = float(1 / double(std::max<int64_t>(1, count)));
  Scratch scratch(ctx, Scratch::size_of<double>(blocks));
  double* partial = scratch.take<double>(blocks);
  dispatch(name, student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* ds = dstudent.mutable_data<T>();
    parallel_ranges(blocks, 1, kBlock * int64_t(3 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        Vec terms = {};
        for_vectors(b * kBlock, std::min(count, (b + 1) * kBlock), [&](int64_t i, auto n) {
          Vec gradient;
          terms += body(get(s + i, n) - get(t + i, n), gradient);
          put(ds + i, gradient * share, n);
        });
        partial[b] = sum(terms);
      }
    });
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += partial[b];
  loss.mutable_data<float>()[0] = count ? float(total / double(count)) : 0.0f;
}

double sum_of(const double* values, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += values[i];
  return total;
}

}  // namespace

void mse_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  mean_over_elements(ctx, "mse_loss", student, teacher, loss, dstudent, [](Vec difference, Vec& gradient) {
    gradient = difference * 2.0f;
    return difference * difference;
  });
}

void l1_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  mean_over_elements(ctx, "l1_loss", student, teacher, loss, dstudent, [](Vec difference, Vec& gradient) {
    const Vec one = broadcast(1), sign = select(less(difference, Vec{}), -one, keep(less(Vec{}, difference), one));
    gradient = select(is_nan(difference), difference, sign);
    return difference * gradient;
  });
}

namespace {

// Sets map[p] to the mean over channels of x^2, and returns the norm of the map.
template <class T>
double attention_map(const T* image, int64_t positions, int64_t channels, float* map) {
  double squares = 0;
  for (int64_t p = 0; p < positions; ++p) {
    Vec terms = {};
    for_vectors(p * channels, (p + 1) * channels, [&](int64_t i, auto n) {
      const Vec v = get(image + i, n);
      terms += v * v;
    });
    map[p] = sum_everywhere(terms)[0] / float(channels);
    squares += double(map[p]) * double(map[p]);
  }
  return std::sqrt(squares);
}

}  // namespace

void attention_transfer_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss,
                             Tensor& dstudent) {
  const int64_t images = student.shape()[0], channels = student.shape().back(), of_teacher = teacher.shape().back();
  const int64_t positions = student.shape()[1] * student.shape()[2];
  const double share = 1 / double(std::max<int64_t>(1, images * positions));
  const int parts = threads_for(int64_t(2 * student.bytes() + teacher.bytes()));
  Scratch scratch(ctx, Scratch::size_of<double>(images) + Scratch::size_of<float>(2 * parts * positions));
  double* values = scratch.take<double>(images);
  float* maps = scratch.take<float>(2 * parts * positions);
  dispatch("attention_transfer_loss", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* ds = dstudent.mutable_data<T>();
    parallel_parts(images, 1, parts, [=](int part, int64_t begin, int64_t end) {
      float *of_s = maps + 2 * part * positions, *of_t = of_s + positions;
      for (int64_t n = begin; n < end; ++n) {
        const T* image = s + n * positions * channels;
        const double length = attention_map(image, positions, channels, of_s);
        const double clamped = std::max(length, kSmallestNorm);
        const double t_length = attention_map(t + n * positions * of_teacher, positions, of_teacher, of_t);
        const double s_factor = 1 / clamped, t_factor = 1 / std::max(t_length, kSmallestNorm);
        double total = 0, along = 0;
        for (int64_t p = 0; p < positions; ++p) {
          const double q = of_s[p] * s_factor, difference = q - of_t[p] * t_factor;
          total += difference * difference;
          along += q * difference;
        }
        values[n] = total;
        if (length <= kSmallestNorm) along = 0;  // a clamped norm is a constant
        const double slope = 4 * share / double(channels) * s_factor;
        for (int64_t p = 0; p < positions; ++p) {
          const double q = of_s[p] * s_factor, difference = q - of_t[p] * t_factor;
          const float factor = float(slope * (difference - along * q));
          for_vectors(p * channels, (p + 1) * channels, [&](int64_t i, auto count) {
            put(ds + n * positions * channels + i, get(image + i, count) * factor, count);
          });
        }
      }
    });
  });
  loss.mutable_data<float>()[0] = float(sum_of(values, images) * share);
}

// --- NST -----------------------------------------------------------------------------------------------------------
//
// With X (positions, channels) of unit columns, the sum of all squared products of columns, |X^T X|^2, is also |X
// X^T|^2, and that of the columns of X with those of Y is the inner product of X X^T with Y Y^T. So there are two ways,
// and the one with the smaller matrices is taken:
//   positions: D = X X^T / C_s - Y Y^T / C_t; the loss is |D|^2, its gradient by X is 4 D X / C_s;
//   channels: |X^T X|^2 / C_s^2 + |Y^T Y|^2 / C_t^2 - 2 |Y^T X|^2 / (C_s C_t); 4 X (X^T X) / C_s^2 - 4 Y (Y^T X) / (C_s
//   C_t).
// The matrices are padded with zeros to what multiply() takes.
namespace {

// n rows or columns, rounded up to whole tiles and vectors.
int64_t padded(int64_t n) { return rounded_up(rounded_up(n, kTileRows), kLanes); }

struct NstSizes {
  int64_t positions, channels, of_teacher;
  int64_t rows, width, teacher_width;  // padded
  bool by_positions;
  NstSizes(const Tensor& student, const Tensor& teacher)
      : positions(student.shape()[1] * student.shape()[2]),
        channels(student.shape().back()),
        of_teacher(teacher.shape().back()),
        rows(padded(positions)),
        width(padded(channels)),
        teacher_width(padded(of_teacher)),
        by_positions(positions < channels) {}
  int64_t products() const {
    return by_positions ? rows * rows : width * width + teacher_width * std::max(width, teacher_width);
  }
  int64_t floats() const { return rows * (2 * width + teacher_width) + products() + 2 * width + teacher_width; }
};

// Scales the columns of x (positions, channels) to unit length: y (rows, width), or, transposed, (width, rows). inverse
// (width) = 1 / the clamped lengths.
template <class T>
void unit_columns(const T* x, int64_t positions, int64_t channels, int64_t rows, int64_t width, bool transposed,
                  float* y, float* inverse) {
  std::fill_n(y, rows * width, 0.0f);
  std::fill_n(inverse, width, 0.0f);
  for (int64_t p = 0; p < positions; ++p)
    for_vectors(0, channels, [&](int64_t c, auto n) {
      const Vec v = get(x + p * channels + c, n);
      put(inverse + c, get(inverse + c, n) + v * v, n);
    });
  for (int64_t c = 0; c < channels; ++c) inverse[c] = float(1 / std::max(std::sqrt(double(inverse[c])), kSmallestNorm));
  for (int64_t p = 0; p < positions; ++p)
    for_vectors(0, channels, [&](int64_t c, auto n) {
      const Vec unit = get(x + p * channels + c, n) * get(inverse + c, n);
      if (transposed) {
        for (int64_t i = 0; i < n; ++i) y[(c + i) * rows + p] = unit[i];
      } else {
        put(y + p * width + c, unit, n);
      }
    });
}

double squares_of(const float* matrix, int64_t rows, int64_t width) {
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) total += sum_of_squares(matrix + r * width, width);
  return total;
}

// x^T y of x (depth, rows) and y (depth, columns), padding included.
void multiply_transposed(int64_t depth, int64_t rows, const float* x, int64_t x_width, const float* y, int64_t y_width,
                         float* products, bool add = false) {
  multiply<true>(rounded_up(rows, kTileRows), y_width / kLanes, depth, x, x_width, y, y_width, products, y_width, add);
}

void scale_by(float* matrix, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) matrix[i] *= factor;
}

// One image: returns its loss; the gradient is multiplied by `share`.
template <class T>
double nst_of_image(const NstSizes& z, const T* student, const T* teacher, double share, float* scratch, T* dstudent) {
  float *x = scratch, *y = x + z.rows * z.width, *dx = y + z.rows * z.teacher_width, *inverse = dx + z.rows * z.width;
  float *along = inverse + z.width, *of_teacher = along + z.width, *products = of_teacher + z.teacher_width;
  const double c_s = double(z.channels), c_t = double(z.of_teacher), ratio = c_s / c_t;
  unit_columns(student, z.positions, z.channels, z.rows, z.width, z.by_positions, x, inverse);
  unit_columns(teacher, z.positions, z.of_teacher, z.rows, z.teacher_width, z.by_positions, y, of_teacher);
  const float factor = float(4 * share / (c_s * c_s)), clamped = float(1 / kSmallestNorm);
  double total = 0;

  if (z.by_positions) {  // x and y are transposed, products are D C_s
    multiply_transposed(z.of_teacher, z.positions, y, z.rows, y, z.rows, products);
    scale_by(products, rounded_up(z.positions, kTileRows) * z.rows, float(-ratio));
    multiply_transposed(z.channels, z.positions, x, z.rows, x, z.rows, products, true);
    total = squares_of(products, z.positions, z.rows);
    multiply(rounded_up(z.channels, kTileRows), z.rows / kLanes, z.positions, x, z.rows, products, z.rows, dx, z.rows,
             false);
    for (int64_t c = 0; c < z.channels; ++c) {
      const float *unit = x + c * z.rows, *gradient = dx + c * z.rows;
      Vec sums = {};
      for_vectors(0, z.positions, [&](int64_t p, auto n) { sums += get(unit + p, n) * get(gradient + p, n); });
      const float back = inverse[c] < clamped ? sum_everywhere(sums)[0] : 0.0f;
      for (int64_t p = 0; p < z.positions; ++p)
        dstudent[p * z.channels + c] = T((gradient[p] - unit[p] * back) * factor * inverse[c]);
    }
    return total / (c_s * c_s);
  }

  float* mixed = products + z.width * z.width;
  multiply_transposed(z.positions, z.of_teacher, y, z.teacher_width, y, z.teacher_width, mixed);
  total += squares_of(mixed, z.of_teacher, z.teacher_width) * ratio * ratio;
  multiply_transposed(z.positions, z.of_teacher, y, z.teacher_width, x, z.width, mixed);
  total -= 2 * squares_of(mixed, z.of_teacher, z.width) * ratio;
  multiply_transposed(z.positions, z.channels, x, z.width, x, z.width, products);
  total += squares_of(products, z.channels, z.width);
  scale_by(mixed, z.of_teacher * z.width, float(-ratio));
  const int64_t rows = rounded_up(z.positions, kTileRows), vectors = z.width / kLanes;
  multiply(rows, vectors, z.channels, x, z.width, products, z.width, dx, z.width, false);
  multiply(rows, vectors, z.of_teacher, y, z.teacher_width, mixed, z.width, dx, z.width, true);
  std::fill_n(along, z.width, 0.0f);
  for (int64_t i = 0; i < z.positions * z.width; i += z.width)
    for (int64_t c = 0; c < z.width; c += kLanes)
      store(along + c, load(along + c) + load(x + i + c) * load(dx + i + c));
  for (int64_t c = 0; c < z.channels; ++c)
    if (inverse[c] >= clamped) along[c] = 0;
  for (int64_t p = 0; p < z.positions; ++p)
    for_vectors(0, z.channels, [&](int64_t c, auto n) {
      const int64_t i = p * z.width + c;
      const Vec gradient = get(dx + i, n) - get(x + i, n) * get(along + c, n);
      put(dstudent + p * z.channels + c, gradient * get(inverse + c, n) * factor, n);
    });
  return total / (c_s * c_s);
}

}  // namespace

void nst_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const NstSizes sizes(student, teacher);
  const int64_t images = student.shape()[0], of_student = sizes.positions * sizes.channels;
  const double share = 1 / double(std::max<int64_t>(1, images));
  const int parts = int(std::min<int64_t>(threads_for(int64_t(student.bytes()) * 8), std::max<int64_t>(1, images)));
  const int64_t floats = int64_t(Scratch::size_of<float>(sizes.floats()) / sizeof(float));
  Scratch scratch(ctx, Scratch::size_of<double>(images) + Scratch::size_of<float>(parts * floats));
  double* values = scratch.take<double>(images);
  float* own = scratch.take<float>(parts * floats);
  dispatch("nst_loss", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* ds = dstudent.mutable_data<T>();
    parallel_parts(images, 1, parts, [&](int part, int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n)
        values[n] = nst_of_image(sizes, s + n * of_student, t + n * sizes.positions * sizes.of_teacher, share,
                                 own + part * floats, ds + n * of_student);
    });
  });
  loss.mutable_data<float>()[0] = float(sum_of(values, images) * share);
}

// One pass: the squares of the differences are added up by channel, which the loss and the gradient of the spread need.
void vid_loss(Context& ctx, float eps, const Tensor& mean, const Tensor& spread, const Tensor& teacher, Tensor& loss,
              Tensor& dmean, Tensor& dspread) {
  const int64_t rows = mean.shape().rows(), channels = spread.numel();
  const double count = double(std::max<int64_t>(1, rows * channels));
  const WideRows wide(rows, channels);
  const int parts = threads_for(int64_t(3 * mean.bytes()));
  Scratch scratch(ctx, column_sums_bytes<1>(wide) + Scratch::size_of<double>(channels) +
                           Scratch::size_of<float>(channels) + Scratch::size_of<float>(wide.width));
  double* variance = scratch.take<double>(channels);
  float *slopes = scratch.take<float>(channels), *wide_slopes = scratch.take<float>(wide.width);
  const float* raw = spread.data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    const double x = double(raw[c]);
    variance[c] = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))) + double(eps);
    slopes[c] = float(1 / (variance[c] * count));
  }
  wide.spread(slopes, wide_slopes);
  const double* squares = nullptr;
  dispatch("vid_loss", mean.dtype(), [&]<class T>() {
    const T *m = mean.data<T>(), *t = teacher.data<T>();
    T* dm = dmean.mutable_data<T>();
    squares = column_sums<1>(scratch, wide, parts, [=](int64_t i, int64_t c, auto n, Vec(&terms)[1]) {
      const Vec difference = get(m + i, n) - get(t + i, n);
      put(dm + i, difference * get(wide_slopes + c, n), n);
      terms[0] = difference * difference;
    });
  });
  float* ds = dspread.mutable_data<float>();
  double total = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double v = variance[c], share = squares[c] / v;
    total += (share + double(rows) * std::log(v)) / 2;
    ds[c] += float((double(rows) - share) / v / 2 / (1 + std::exp(-double(raw[c]))) / count);
  }
  loss.mutable_data<float>()[0] = float(total / count);
}

}  // namespace coss::cpu
