// Losses over feature maps: value and gradient in one call. Sums over the batch are in double and in a fixed order.
//
// mse_loss, l1_loss and vid_loss read both maps once and write the gradient, which is the least possible.
// attention_transfer_loss reads the student's map twice, with a warp per position. nst_loss is a few small matrix
// products for each image, in tiles of shared memory; it never stores an element per pair of channels and position.
#include <algorithm>

#include "engine/cuda/columns.h"
#include "engine/cuda/flat.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;

// Cuts the workspace into arrays: a first pass counts their bytes, a second one takes them in the same order.
class Cut {
 public:
  template <class T>
  T* take(int64_t count) {
    char* place = base_ + used_;
    used_ += (size_t(count) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(place);
  }
  // The arrays that take(cut) takes, in the context's workspace.
  template <class Take>
  static auto of(Context& ctx, const Take& take) {
    Cut count;
    take(count);
    Cut real;
    real.base_ = static_cast<char*>(ctx.workspace(count.used_));
    return take(real);
  }

 private:
  char* base_ = nullptr;
  size_t used_ = 0;
};

// loss = factor * the sum of the partial sums.
__global__ void __launch_bounds__(kThreads)
    map_loss_sum(const double* partials, int count, double factor, float* loss) {
  double own = 0;
  for (int i = int(threadIdx.x); i < count; i += kThreads) own += partials[i];
  const double total = block_sum<kThreads>(own);
  if (threadIdx.x == 0) *loss = float(total * factor);
}

// --- mse and l1 ----------------------------------------------------------------------------------------------------

template <bool kSquares, int N, class T>
__global__ void __launch_bounds__(kThreads)
    difference_loss(const T* student, const T* teacher, int64_t count, float share, T* dstudent, double* partials) {
  const int64_t step = int64_t(gridDim.x) * kThreads * N;
  double total = 0;
  for (int64_t i = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * N; i < count; i += step) {
    float s[N], t[N];
    const bool whole = i + N <= count;
    const int n = whole ? N : int(count - i);
    if (whole) {
      load<N>(student + i, s);
      load<N>(teacher + i, t);
    } else {
      load_part<N>(student + i, n, s);
      load_part<N>(teacher + i, n, t);
    }
    float sum = 0;
    COSS_UNROLL
    for (int j = 0; j < N; ++j) {
      const float difference = s[j] - t[j];
      if constexpr (kSquares) {
        sum += difference * difference;
        s[j] = 2 * difference * share;
      } else {
        sum += fabsf(difference);
        s[j] = difference > 0 ? share : difference < 0 ? -share : difference;  // keeps NaN
      }
    }
    total += double(sum);
    if (whole)
      store<N>(dstudent + i, s);
    else
      store_part<N>(dstudent + i, n, s);
  }
  total = block_sum<kThreads>(total);
  if (threadIdx.x == 0) partials[blockIdx.x] = total;
}

template <bool kSquares>
void mean_difference(Context& ctx, const char* name, const Tensor& student, const Tensor& teacher, Tensor& loss,
                     Tensor& dstudent) {
  const int64_t count = student.numel();
  if (count == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  dispatch(name, student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* ds = dstudent.mutable_data<T>();
    auto run = [&]<int N>() {
      const unsigned blocks =
          unsigned(std::min<int64_t>(blocks_for(count, kThreads * N), int64_t(8) * multiprocessors(ctx)));
      double* partials = static_cast<double*>(ctx.workspace(blocks * sizeof(double)));
      launch(ctx, {"difference_loss", blocks, kThreads}, difference_loss<kSquares, N, T>, s, t, count,
             float(1 / double(count)), ds, partials);
      launch(ctx, {"map_loss_sum", 1, kThreads}, map_loss_sum, partials, int(blocks), 1 / double(count),
             loss.mutable_data<float>());
    };
    if (aligned(s) && aligned(t) && aligned(ds))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

}  // namespace

void mse_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  mean_difference<true>(ctx, "mse_loss", student, teacher, loss, dstudent);
}

void l1_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  mean_difference<false>(ctx, "l1_loss", student, teacher, loss, dstudent);
}

// --- attention transfer --------------------------------------------------------------------------------------------

namespace {

constexpr int kWarps = kThreads / kWarp;

// map[r] = the mean of x^2 over row r, by one warp per row.
template <class T>
__global__ void __launch_bounds__(kThreads) attention_map(const T* x, int64_t rows, int64_t channels, float* map) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  const int lane = int(threadIdx.x) % kWarp;
  float own = 0;
  for (int64_t c = lane; c < channels; c += kWarp) {
    const float v = to_float(x[row * channels + c]);
    own += v * v;
  }
  own = warp_sum(own);
  if (lane == 0) map[row] = own / float(channels);
}

// A block per image computes its loss, and overwrites the student's map with the map's gradient times 2 / channels.
__global__ void __launch_bounds__(kThreads)
    attention_factors(float* student, const float* teacher, int64_t positions, double slope, double* values) {
  float* s = student + int64_t(blockIdx.x) * positions;
  const float* t = teacher + int64_t(blockIdx.x) * positions;
  double squares[2] = {};
  for (int64_t p = threadIdx.x; p < positions; p += kThreads) {
    squares[0] += double(s[p]) * double(s[p]);
    squares[1] += double(t[p]) * double(t[p]);
  }
  const double s_length = sqrt(block_sum<kThreads>(squares[0])), t_length = sqrt(block_sum<kThreads>(squares[1]));
  const double smallest = kSmallestNorm;
  const double s_factor = 1 / (s_length > smallest ? s_length : smallest);
  const double t_factor = 1 / (t_length > smallest ? t_length : smallest);
  double total = 0, along = 0;
  for (int64_t p = threadIdx.x; p < positions; p += kThreads) {
    const double q = double(s[p]) * s_factor, difference = q - double(t[p]) * t_factor;
    total += difference * difference;
    along += q * difference;
  }
  total = block_sum<kThreads>(total);
  along = block_sum<kThreads>(along);
  if (!(s_length > smallest)) along = 0;  // a clamped norm is a constant
  for (int64_t p = threadIdx.x; p < positions; p += kThreads) {
    const double q = double(s[p]) * s_factor, difference = q - double(t[p]) * t_factor;
    s[p] = float(slope * s_factor * (difference - along * q));
  }
  if (threadIdx.x == 0) values[blockIdx.x] = total;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_gradient(const T* x, const float* factors, int64_t rows, int64_t channels, T* dx) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const float factor = factors[row];
  for (int64_t c = threadIdx.x % kWarp; c < channels; c += kWarp)
    dx[row * channels + c] = from_float<T>(to_float(x[row * channels + c]) * factor);
}

}  // namespace

void attention_transfer_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss,
                             Tensor& dstudent) {
  const int64_t images = student.shape()[0], channels = student.shape().back(), of_teacher = teacher.shape().back();
  const int64_t positions = student.shape()[1] * student.shape()[2], rows = images * positions;
  if (student.numel() == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  struct Scratch {
    double* values;
    float *student, *teacher;
  };
  const Scratch scratch = Cut::of(ctx, [&](Cut& cut) {
    return Scratch{cut.take<double>(images), cut.take<float>(rows), cut.take<float>(rows)};
  });
  const unsigned blocks = blocks_for(rows, kWarps);
  dispatch("attention_transfer_loss", student.dtype(), [&]<class T>() {
    launch(ctx, {"attention_map", blocks, kThreads}, attention_map<T>, student.data<T>(), rows, channels,
           scratch.student);
    launch(ctx, {"attention_map", blocks, kThreads}, attention_map<T>, teacher.data<T>(), rows, of_teacher,
           scratch.teacher);
    launch(ctx, {"attention_factors", unsigned(images), kThreads}, attention_factors, scratch.student, scratch.teacher,
           positions, 4 / (double(rows) * double(channels)), scratch.values);
    launch(ctx, {"attention_gradient", blocks, kThreads}, attention_gradient<T>, student.data<T>(), scratch.student,
           rows, channels, dstudent.mutable_data<T>());
  });
  launch(ctx, {"map_loss_sum", 1, kThreads}, map_loss_sum, scratch.values, int(images), 1 / double(rows),
         loss.mutable_data<float>());
}

// --- NST -----------------------------------------------------------------------------------------------------------
//
// With X (positions, channels) of unit columns, |X^T X|^2 = |X X^T|^2, and the squared products of the columns of X
// with those of Y add up to the inner product of X X^T with Y Y^T. The way with the smaller matrices is taken, as on
// the processor.
namespace {

constexpr int kTile = 16;         // products: a block of 16 x 16 threads makes 32 x 32 elements
constexpr int kSide = 2 * kTile;  // of a tile
constexpr int kColumns = kWarp;   // columns per block of unit_columns and their backward, eight rows at a time
constexpr int kRowsAtOnce = kThreads / kColumns;

// Element (row, column) of image n: data[n * image + row * by_row + column * by_column].
struct Matrix {
  float* data;
  int64_t image, by_row, by_column;
};

// y = alpha * a b + beta * y for each image (blockIdx.z); a (rows, depth), b (depth, columns).
__global__ void __launch_bounds__(kTile* kTile)
    nst_product(Matrix a, Matrix b, Matrix y, int rows, int columns, int depth, float alpha, float beta) {
  COSS_SHARED(float, left, kSide*(kTile + 1));
  COSS_SHARED(float, right, kTile*(kSide + 1));
  const int across = int(threadIdx.x) % kTile, down = int(threadIdx.x) / kTile;
  const int first_row = int(blockIdx.y) * kSide, first_column = int(blockIdx.x) * kSide;
  const float* from_a = a.data + int64_t(blockIdx.z) * a.image;
  const float* from_b = b.data + int64_t(blockIdx.z) * b.image;
  float sums[2][2] = {};
  for (int begin = 0; begin < depth; begin += kTile) {
    COSS_UNROLL
    for (int half = 0; half < 2; ++half) {
      // Neighboring threads take neighboring elements in memory, for either order of the matrix.
      const int along = a.by_column == 1 ? across : down, other = a.by_column == 1 ? down : across;
      const int row = other + half * kTile, k = begin + along;
      left[row * (kTile + 1) + along] =
          first_row + row < rows && k < depth ? from_a[(first_row + row) * a.by_row + k * a.by_column] : 0.0f;
      const int of_b = b.by_column == 1 ? across : down, deep = b.by_column == 1 ? down : across;
      const int column = of_b + half * kTile;
      right[deep * (kSide + 1) + column] =
          first_column + column < columns && begin + deep < depth
              ? from_b[(begin + deep) * b.by_row + (first_column + column) * b.by_column]
              : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < kTile; ++k) {
      const float a0 = left[down * (kTile + 1) + k], a1 = left[(down + kTile) * (kTile + 1) + k];
      const float b0 = right[k * (kSide + 1) + across], b1 = right[k * (kSide + 1) + across + kTile];
      sums[0][0] += a0 * b0;
      sums[0][1] += a0 * b1;
      sums[1][0] += a1 * b0;
      sums[1][1] += a1 * b1;
    }
    __syncthreads();
  }
  COSS_UNROLL
  for (int i = 0; i < 2; ++i) {
    COSS_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int row = first_row + down + i * kTile, column = first_column + across + j * kTile;
      if (row >= rows || column >= columns) continue;
      float* place = y.data + int64_t(blockIdx.z) * y.image + row * y.by_row + column * y.by_column;
      *place = alpha * sums[i][j] + (beta == 0 ? 0.0f : beta * *place);
    }
  }
}

// The sum over the eight threads of each of 32 columns.
__device__ inline float column_sum(float own) {
  COSS_SHARED(float, partial, kRowsAtOnce* kColumns);
  const int t = int(threadIdx.x);
  partial[t] = own;
  __syncthreads();
  float total = 0;
  COSS_UNROLL
  for (int row = 0; row < kRowsAtOnce; ++row) total += partial[row * kColumns + t % kColumns];
  __syncthreads();
  return total;
}

// Columns of unit length, and 1 / their clamped lengths, (images, channels).
template <class T>
__global__ void __launch_bounds__(kThreads)
    nst_unit_columns(const T* x, int positions, int channels, float* y, float* inverse) {
  const int column = int(blockIdx.x) * kColumns + int(threadIdx.x) % kColumns, row = int(threadIdx.x) / kColumns;
  const int64_t image = int64_t(blockIdx.y) * positions * channels;
  float own = 0;
  for (int p = row; column < channels && p < positions; p += kRowsAtOnce) {
    const float v = to_float(x[image + int64_t(p) * channels + column]);
    own += v * v;
  }
  const float factor = 1.0f / fmaxf(sqrtf(column_sum(own)), float(kSmallestNorm));
  if (column >= channels) return;
  if (row == 0) inverse[int64_t(blockIdx.y) * channels + column] = factor;
  for (int p = row; p < positions; p += kRowsAtOnce) {
    const int64_t i = image + int64_t(p) * channels + column;
    y[i] = to_float(x[i]) * factor;
  }
}

// Turns the gradient by the unit columns into the gradient by the original columns.
template <class T>
__global__ void __launch_bounds__(kThreads)
    nst_columns_backward(const float* unit, const float* gradient, const float* inverse, int positions, int channels,
                         T* dx) {
  const int column = int(blockIdx.x) * kColumns + int(threadIdx.x) % kColumns, row = int(threadIdx.x) / kColumns;
  const int64_t image = int64_t(blockIdx.y) * positions * channels;
  float own = 0;
  for (int p = row; column < channels && p < positions; p += kRowsAtOnce) {
    const int64_t i = image + int64_t(p) * channels + column;
    own += unit[i] * gradient[i];
  }
  float along = column_sum(own);
  if (column >= channels) return;
  const float factor = inverse[int64_t(blockIdx.y) * channels + column];
  if (!(factor < 1.0f / float(kSmallestNorm))) along = 0;  // a clamped length is a constant
  for (int p = row; p < positions; p += kRowsAtOnce) {
    const int64_t i = image + int64_t(p) * channels + column;
    dx[i] = from_float<T>((gradient[i] - unit[i] * along) * factor);
  }
}

// partials[block] = weight * the sum of squares of the image's matrix.
__global__ void __launch_bounds__(kThreads)
    nst_squares(const float* matrices, int64_t size, double weight, double* partials) {
  const float* x = matrices + int64_t(blockIdx.x) * size;
  double own = 0;
  for (int64_t i = threadIdx.x; i < size; i += kThreads) own += double(x[i]) * double(x[i]);
  const double total = block_sum<kThreads>(own);
  if (threadIdx.x == 0) partials[blockIdx.x] = weight * total;
}

}  // namespace

void nst_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int images = int(student.shape()[0]), c_s = int(student.shape().back()), c_t = int(teacher.shape().back());
  const int positions = int(student.shape()[1] * student.shape()[2]);
  if (student.numel() == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  const bool by_positions = positions < c_s;
  const int64_t of_student = int64_t(positions) * c_s, of_teacher = int64_t(positions) * c_t;
  const int64_t own = by_positions ? int64_t(positions) * positions : int64_t(c_s) * c_s;
  const int64_t mixed = by_positions ? 0 : int64_t(c_t) * std::max(c_s, c_t);
  struct Scratch {
    double* values;
    float *x, *y, *dx, *x_inverse, *y_inverse, *own, *mixed;
  };
  const Scratch scratch = Cut::of(ctx, [&](Cut& cut) {
    return Scratch{cut.take<double>(3 * images),           cut.take<float>(images * of_student),
                   cut.take<float>(images * of_teacher),   cut.take<float>(images * of_student),
                   cut.take<float>(int64_t(images) * c_s), cut.take<float>(int64_t(images) * c_t),
                   cut.take<float>(images * own),          cut.take<float>(images * mixed)};
  });
  const Matrix x{scratch.x, of_student, c_s, 1}, x_transposed{scratch.x, of_student, 1, c_s};
  const Matrix y{scratch.y, of_teacher, c_t, 1}, y_transposed{scratch.y, of_teacher, 1, c_t};
  const Matrix dx{scratch.dx, of_student, c_s, 1};
  const auto product = [&](const Matrix& a, const Matrix& b, const Matrix& to, int rows, int columns, int depth,
                           double alpha, float beta = 0) {
    launch(ctx,
           {"nst_product", dim3(blocks_for(columns, kSide), blocks_for(rows, kSide), unsigned(images)), kTile * kTile},
           nst_product, a, b, to, rows, columns, depth, float(alpha), beta);
  };
  const auto squares = [&](const float* matrices, int64_t size, double weight, int at) {
    launch(ctx, {"nst_squares", unsigned(images), kThreads}, nst_squares, matrices, size, weight,
           scratch.values + int64_t(at) * images);
  };
  const auto columns = [&](int channels) { return dim3(blocks_for(channels, kColumns), unsigned(images)); };
  dispatch("nst_loss", student.dtype(), [&]<class T>() {
    launch(ctx, {"nst_unit_columns", columns(c_s), kThreads}, nst_unit_columns<T>, student.data<T>(), positions, c_s,
           scratch.x, scratch.x_inverse);
    launch(ctx, {"nst_unit_columns", columns(c_t), kThreads}, nst_unit_columns<T>, teacher.data<T>(), positions, c_t,
           scratch.y, scratch.y_inverse);
  });
  const double share = 1 / double(images), s = 1 / double(c_s), t = 1 / double(c_t);
  int sums = 1;
  if (by_positions) {
    const Matrix difference{scratch.own, own, positions, 1};
    product(y, y_transposed, difference, positions, positions, c_t, -t);
    product(x, x_transposed, difference, positions, positions, c_s, s, 1);
    squares(scratch.own, own, 1, 0);
    product(difference, x, dx, positions, c_s, positions, 4 * share * s);
  } else {
    const int64_t of_y = int64_t(c_t) * c_t, of_both = int64_t(c_t) * c_s;
    const Matrix x_products{scratch.own, own, c_s, 1}, y_products{scratch.mixed, of_y, c_t, 1};
    const Matrix products{scratch.mixed, of_both, c_s, 1};  // in the memory of the products of y
    product(y_transposed, y, y_products, c_t, c_t, positions, 1);
    squares(scratch.mixed, of_y, t * t, 0);
    product(y_transposed, x, products, c_t, c_s, positions, 1);
    squares(scratch.mixed, of_both, -2 * s * t, 1);
    product(x_transposed, x, x_products, c_s, c_s, positions, 1);
    squares(scratch.own, own, s * s, 2);
    product(x, x_products, dx, positions, c_s, c_s, 4 * share * s * s);
    product(y, products, dx, positions, c_s, c_t, -4 * share * s * t, 1);
    sums = 3;
  }
  dispatch("nst_loss", student.dtype(), [&]<class T>() {
    launch(ctx, {"nst_columns_backward", columns(c_s), kThreads}, nst_columns_backward<T>, scratch.x, scratch.dx,
           scratch.x_inverse, positions, c_s, dstudent.mutable_data<T>());
  });
  launch(ctx, {"map_loss_sum", 1, kThreads}, map_loss_sum, scratch.values, sums * images, share,
         loss.mutable_data<float>());
}

// --- VID -----------------------------------------------------------------------------------------------------------

namespace {

// log(1 + exp(spread)) + eps
__device__ inline float variance_of(float spread, float eps) {
  return fmaxf(spread, 0.0f) + log1pf(expf(-fabsf(spread))) + eps;
}

// Writes the gradient by the mean, and a block's sums of the squared differences by channel.
template <class T, int N>
__global__ void __launch_bounds__(kSumThreads)
    vid_differences(Tiles tiles, const T* mean, const T* teacher, const float* spread, float eps, float share, T* dmean,
                    float* partials) {
  const unsigned tile = blockIdx.x % tiles.side, b = blockIdx.x / tiles.side;
  const Place place = place_of<N>(tiles, tile, b);
  float sums[N] = {}, slopes[N] = {};
  if (place.works) {
    COSS_UNROLL
    for (int j = 0; j < N; ++j) slopes[j] = share / variance_of(spread[place.column + j], eps);
  }
  for_rows<1>(tiles, place, [&](auto, int64_t i) {
    float m[N], t[N];
    load<N>(mean + i, m);
    load<N>(teacher + i, t);
    COSS_UNROLL
    for (int j = 0; j < N; ++j) {
      const float difference = m[j] - t[j];
      sums[j] += difference * difference;
      m[j] = difference * slopes[j];
    }
    store<N>(dmean + i, m);
  });
  write_partials<1, N>(tiles, tile, b, sums, partials);
}

// Computes the gradient by the spread of 16 channels, and their part of the loss.
__global__ void __launch_bounds__(kFinishThreads)
    vid_channels(const float* partials, int count, int64_t channels, int64_t rows, const float* spread, float eps,
                 float* dspread, double* values) {
  finish_columns<1, kFinishThreads>(
      partials, count, channels, int64_t(blockIdx.x) * kFinishColumns, kFinishColumns,
      [=](int64_t c, const double(&sums)[1]) {
        const double variance = double(variance_of(spread[c], eps)), ratio = sums[0] / variance;
        values[c] = (ratio + double(rows) * log(variance)) / 2;
        const double of_variance = (double(rows) - ratio) / variance / 2;
        dspread[c] += float(of_variance / (1 + exp(-double(spread[c]))) / (double(rows) * double(channels)));
      });
}

}  // namespace

void vid_loss(Context& ctx, float eps, const Tensor& mean, const Tensor& spread, const Tensor& teacher, Tensor& loss,
              Tensor& dmean, Tensor& dspread) {
  const int64_t rows = mean.shape().rows(), channels = spread.numel(), count = rows * channels;
  if (count == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  dispatch("vid_loss", mean.dtype(), [&]<class T>() {
    const T *m = mean.data<T>(), *t = teacher.data<T>();
    T* dm = dmean.mutable_data<T>();
    auto run = [&]<int N>() {
      const Tiles tiles = sum_tiles<N>(ctx, rows, channels, int64_t(2 * mean.bytes()), 1);
      struct Scratch {
        double* values;
        float* partials;
      };
      const Scratch scratch = Cut::of(ctx, [&](Cut& cut) {
        return Scratch{cut.take<double>(channels), cut.take<float>(int64_t(tiles.count) * channels)};
      });
      launch(ctx, {"vid_differences", tiles.blocks(), kSumThreads}, vid_differences<T, N>, tiles, m, t,
             spread.data<float>(), eps, float(1 / double(count)), dm, scratch.partials);
      launch(ctx, {"vid_channels", blocks_for(channels, kFinishColumns), kFinishThreads}, vid_channels,
             scratch.partials, int(tiles.count), channels, rows, spread.data<float>(), eps,
             dspread.mutable_data<float>(), scratch.values);
      launch(ctx, {"map_loss_sum", 1, kThreads}, map_loss_sum, scratch.values, int(channels), 1 / double(count),
             loss.mutable_data<float>());
    };
    if (channels % kVector == 0 && aligned(m) && aligned(t) && aligned(dm))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

}  // namespace coss::cuda
