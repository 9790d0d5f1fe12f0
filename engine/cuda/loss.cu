// Losses: value and gradient in one call. Sums over the batch are in double and in a fixed order.
//
// cross_entropy reads the logits once from memory and writes the gradient once; a row is read again from the cache.
// coss_loss reads both matrices twice, the second time mostly from the L2 cache, and writes one. Its blocks are tiles
// of 256 columns and at least 16 rows: a lane keeps its columns, a warp goes from row to row.
#include <algorithm>
#include <utility>

#include "engine/cuda/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cuda {
namespace {

constexpr int kSumThreads = 1024;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

size_t rounded_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

// --- cross-entropy -------------------------------------------------------------------------------------------------

// share = 1 / number of rows that have a label, or 0.
__global__ void __launch_bounds__(kSumThreads) cross_entropy_share(const int32_t* labels, double* share, int64_t rows) {
  int own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) own += labels[r] >= 0;
  const int counted = block_sum<kSumThreads>(own);
  if (threadIdx.x == 0) *share = counted > 0 ? 1 / double(counted) : 0;
}

// g is the greatest logit, l that of the label, and `others` the sum of exp(x - g) without the label. Then value =
// log((others + exp(l - g)) / exp(l - g)), and the gradient at the label is -others / (others + exp(l - g)). So nothing
// cancels in rows that are nearly right, and float is exact enough.
template <int kThreads, int N, class T>
__global__ void __launch_bounds__(kThreads == kWarp ? kRowBlock : kThreads)
    cross_entropy_rows(const T* logits, const int32_t* labels, const double* share, T* dlogits, float* values,
                       int64_t rows, int width) {
  const int64_t row = own_row<kThreads>();
  if (row >= rows) return;  // a whole warp
  const T* x = logits + row * width;
  T* gradient = dlogits + row * width;
  const int label = labels[row];
  const bool first = threadIdx.x % kThreads == 0;
  if (label < 0 || label >= width) {
    for_row<kThreads, N>(x, row, width, [&](int i, float(&v)[N], auto whole) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) v[k] = 0;
      store_group(gradient, i, width, v, whole);
    });
    // A kernel cannot throw, so a label that is no class makes the loss NaN, which the run reports.
    if (first) values[row] = label < 0 ? 0 : kNaN;
    return;
  }
  const SoftmaxRow rest = softmax_row<kThreads, N>(x, row, width, kLog2E, label);
  const float of_label = to_float(x[label]);
  const float greatest = fmaxf(rest.greatest, of_label), difference = of_label - greatest;
  const float others = rest.sum * exp2f((rest.greatest - greatest) * kLog2E);
  const float sum = others + exp2f(difference * kLog2E);
  const float own_share = float(*share), factor = own_share / sum, at_label = -own_share * (others / sum);
  if (first) values[row] = difference == 0 ? log1pf(others) : logf(sum) - difference;
  for_row<kThreads, N>(x, row, width, [&](int i, float(&v)[N], auto whole) {
    COSS_UNROLL
    for (int k = 0; k < N; ++k) {
      const float of_other = exp2f((v[k] - greatest) * kLog2E) * factor;
      v[k] = i + k == label ? at_label : of_other;
    }
    store_group(gradient, i, width, v, whole);
  });
}

__global__ void __launch_bounds__(kSumThreads)
    cross_entropy_mean(const float* values, const double* share, float* loss, int64_t rows) {
  double own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kSumThreads) own += double(values[r]);
  const double total = block_sum<kSumThreads>(own);
  if (threadIdx.x == 0) *loss = float(total * *share);
}

}  // namespace

void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& labels, Tensor& loss, Tensor& dlogits) {
  const int64_t rows = logits.shape().rows(), width = logits.shape().back();
  if (logits.numel() == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  const size_t share_bytes = rounded_up(sizeof(double));
  char* scratch = static_cast<char*>(ctx.workspace(share_bytes + size_t(rows) * sizeof(float)));
  double* share = reinterpret_cast<double*>(scratch);
  float* values = reinterpret_cast<float*>(scratch + share_bytes);
  launch(ctx, {"cross_entropy_share", 1, kSumThreads}, cross_entropy_share, labels.data<int32_t>(), share, rows);
  dispatch("cross_entropy", logits.dtype(), [&]<class T>() {
    const bool vectors = vectors_fit(logits) && vectors_fit(dlogits);
    T* out = dlogits.mutable_data<T>();
    for_row_threads(rows, width, vectors, [&]<int kThreads, int N>(unsigned blocks, unsigned threads) {
      launch(ctx, {"cross_entropy", blocks, threads}, cross_entropy_rows<kThreads, N, T>, logits.data<T>(),
             labels.data<int32_t>(), share, out, values, rows, int(width));
    });
  });
  launch(ctx, {"cross_entropy_mean", 1, kSumThreads}, cross_entropy_mean, values, share, loss.mutable_data<float>(),
         rows);
}

// --- CoSS ----------------------------------------------------------------------------------------------------------

namespace {

constexpr int kTileThreads = 256, kTileWarps = kTileThreads / kWarp;
constexpr int kTogether = 2;  // rows that a warp loads at a time

// The cosines of the rows, or those of the columns.
struct Cosines {
  int64_t count, parts;  // cosines; partial sums of each of their products
  float* products;       // (parts, 3, count): s*t, s*s, t*t
  float* factors;        // (2, count): factors of teacher and student in the gradient
  double* totals;        // (blocks): sums of cosines
  int blocks;            // blocks of coss_factors
  double weight;         // weight of a cosine in the loss
};

// N columns of kTogether rows of both matrices; zeros outside of [0, last) x [0, width). All loads of the usual case
// are in one branch, so that they are in flight together.
template <int N, class T>
__device__ inline void load_rows(const T* student, const T* teacher, int64_t row, int64_t last, int64_t column,
                                 int64_t width, float (&s)[kTogether][N], float (&t)[kTogether][N]) {
  const int64_t from = row * width + column;
  if (row + kTogether <= last && column < width) {
    COSS_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      load(student + from + j * width, s[j]);
      load(teacher + from + j * width, t[j]);
    }
    return;
  }
  COSS_UNROLL
  for (int j = 0; j < kTogether; ++j) {
    const int count = row + j < last && column < width ? N : 0;
    load_part(student + from + j * width, count, s[j]);
    load_part(teacher + from + j * width, count, t[j]);
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kTileThreads, 3)
    coss_products(const T* __restrict__ student, const T* __restrict__ teacher, int rows_per_block, Cosines of_rows,
                  Cosines of_columns) {
  constexpr int kColumns = kWarp * N;
  constexpr int kStep = kWarp + 4;  // four elements more, so that neither writing nor reading has bank conflicts
  COSS_SHARED(float, partial, kTileWarps * 3 * N * kStep);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t rows = of_rows.count, width = of_columns.count;
  const int64_t first = int64_t(blockIdx.y) * rows_per_block;
  const int64_t last = first + rows_per_block < rows ? first + rows_per_block : rows;
  const int64_t column = int64_t(blockIdx.x) * kColumns + lane * N;
  float columns[3][N] = {};
  for (int64_t row = first + warp * kTogether; row < last; row += kTileWarps * kTogether) {
    float s[kTogether][N], t[kTogether][N];
    load_rows(student, teacher, row, last, column, width, s, t);
    float mine = 0;  // lane 3 * j + k writes product k of row j
    COSS_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      float sums[3] = {};
      COSS_UNROLL
      for (int i = 0; i < N; ++i) {
        const float products[3] = {s[j][i] * t[j][i], s[j][i] * s[j][i], t[j][i] * t[j][i]};
        COSS_UNROLL
        for (int k = 0; k < 3; ++k) {
          sums[k] += products[k];
          columns[k][i] += products[k];
        }
      }
      COSS_UNROLL
      for (int k = 0; k < 3; ++k) {
        const float sum = warp_sum(sums[k]);
        if (lane == 3 * j + k) mine = sum;
      }
    }
    if (lane < 3 * kTogether && row + lane / 3 < last)
      of_rows.products[(int64_t(blockIdx.x) * 3 + lane % 3) * rows + row + lane / 3] = mine;
  }
  COSS_UNROLL
  for (int k = 0; k < 3; ++k) {
    COSS_UNROLL
    for (int i = 0; i < N; ++i) partial[((warp * 3 + k) * N + i) * kStep + lane] = columns[k][i];
  }
  __syncthreads();
  const int own = int(threadIdx.x);  // column of the tile
  const int64_t place = int64_t(blockIdx.x) * kColumns + own;
  if (own >= kColumns || place >= width) return;
  for (int k = 0; k < 3; ++k) {
    float sum = 0;
    COSS_UNROLL
    for (int w = 0; w < kTileWarps; ++w) sum += partial[((w * 3 + k) * N + own % N) * kStep + own / N];
    of_columns.products[(int64_t(blockIdx.y) * 3 + k) * width + place] = sum;
  }
}

// Computes the 32 cosines of this block, one per lane; the warps share the parts.
__device__ inline void write_factors(const Cosines& of, int block) {
  COSS_SHARED(double, partial, kTileWarps * 3 * kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t item = int64_t(block) * kWarp + lane;
  double sums[3] = {};
  if (item < of.count) {
    for (int64_t part = warp; part < of.parts; part += kTileWarps) {
      COSS_UNROLL
      for (int k = 0; k < 3; ++k) sums[k] += double(of.products[(part * 3 + k) * of.count + item]);
    }
  }
  COSS_UNROLL
  for (int k = 0; k < 3; ++k) partial[(warp * 3 + k) * kWarp + lane] = sums[k];
  __syncthreads();
  if (warp > 0) return;
  COSS_UNROLL
  for (int k = 0; k < 3; ++k) {
    for (int w = 1; w < kTileWarps; ++w) sums[k] += partial[(w * 3 + k) * kWarp + lane];
  }
  const Cosine cosine(sums[0], sums[1], sums[2]);  // 0 where there is no vector
  if (item < of.count) {
    of.factors[item] = float(of.weight * cosine.of_teacher);
    of.factors[of.count + item] = float(of.weight * cosine.of_student);
  }
  const double total = warp_sum(cosine.value);
  if (lane == 0) of.totals[block] = total;
}

__global__ void __launch_bounds__(kTileThreads) coss_factors(Cosines of_rows, Cosines of_columns) {
  const int block = int(blockIdx.x);
  if (block < of_rows.blocks)
    write_factors(of_rows, block);
  else
    write_factors(of_columns, block - of_rows.blocks);
}

// All threads of a block get the sum of all cosines.
__device__ inline double sum_of(const Cosines& of) {
  double own = 0;
  for (int i = int(threadIdx.x); i < of.blocks; i += kTileThreads) own += of.totals[i];
  return block_sum<kTileThreads>(own);
}

template <int N, class T>
__global__ void __launch_bounds__(kTileThreads)
    coss_gradient(const T* __restrict__ student, const T* __restrict__ teacher, int rows_per_block, Cosines of_rows,
                  Cosines of_columns, float* __restrict__ terms, T* __restrict__ dstudent) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t rows = of_rows.count, width = of_columns.count;
  const int64_t first = int64_t(blockIdx.y) * rows_per_block;
  const int64_t last = first + rows_per_block < rows ? first + rows_per_block : rows;
  const int64_t column = (int64_t(blockIdx.x) * kWarp + lane) * N;
  if (column < width) {
    float column_t[N], column_s[N];
    load(of_columns.factors + column, column_t);
    load(of_columns.factors + width + column, column_s);
    for (int64_t row = first + warp * kTogether; row < last; row += kTileWarps * kTogether) {
      float s[kTogether][N], t[kTogether][N];
      load_rows(student, teacher, row, last, column, width, s, t);
      COSS_UNROLL
      for (int j = 0; j < kTogether; ++j) {
        if (row + j >= last) break;
        const float row_t = of_rows.factors[row + j], row_s = of_rows.factors[rows + row + j];
        float ds[N];
        COSS_UNROLL
        for (int i = 0; i < N; ++i) ds[i] = t[j][i] * (column_t[i] + row_t) + s[j][i] * (column_s[i] + row_s);
        store(dstudent + (row + j) * width + column, ds);
      }
    }
  }
  if (blockIdx.x > 0 || blockIdx.y > 0) return;
  const double row_total = sum_of(of_rows), column_total = sum_of(of_columns);
  if (threadIdx.x > 0) return;
  terms[0] = float(of_rows.weight * row_total + of_columns.weight * column_total);
  terms[1] = float(-row_total / double(rows));
  terms[2] = float(-column_total / double(width));
}

}  // namespace

void coss_loss(Context& ctx, const CossParams& p, const Tensor& student, const Tensor& teacher, Tensor& terms,
               Tensor& dstudent) {
  const int64_t rows = student.shape().rows(), width = student.shape().back();
  if (student.numel() == 0) return zero_bytes(ctx, terms.mutable_raw(), terms.bytes());
  const bool vectors = width % kVector == 0 && vectors_fit(student) && vectors_fit(teacher) && vectors_fit(dstudent);
  const int64_t columns_per_block = kWarp * (vectors ? kVector : 1);
  // About 32 blocks over the rows: enough to fill the device with the columns' tiles, few partial sums to add.
  constexpr int64_t kRound = kTileWarps * kTogether, kMostRows = 2048;
  const int64_t rows_per_block = std::min(kMostRows, (rows + 32 * kRound - 1) / (32 * kRound) * kRound);
  const dim3 tiles(blocks_for(width, columns_per_block), blocks_for(rows, rows_per_block));

  size_t bytes = 0;
  auto place = [&](size_t size) { return std::exchange(bytes, bytes + rounded_up(size)); };
  auto plan = [&](int64_t count, int64_t parts, float weight) {
    Cosines of{count, parts, nullptr, nullptr, nullptr, 0, 0};
    of.blocks = int(blocks_for(count, kWarp));
    of.weight = -double(p.scale) * double(weight) / double(count);
    return of;
  };
  Cosines of_rows = plan(rows, tiles.x, p.row_weight), of_columns = plan(width, tiles.y, p.column_weight);
  size_t offsets[2][3];
  for (int i : {0, 1}) {
    const Cosines& of = i == 0 ? of_rows : of_columns;
    offsets[i][0] = place(size_t(of.parts * 3 * of.count) * sizeof(float));
    offsets[i][1] = place(size_t(2 * of.count) * sizeof(float));
    offsets[i][2] = place(size_t(of.blocks) * sizeof(double));
  }
  char* scratch = static_cast<char*>(ctx.workspace(bytes));
  for (int i : {0, 1}) {
    Cosines& of = i == 0 ? of_rows : of_columns;
    of.products = reinterpret_cast<float*>(scratch + offsets[i][0]);
    of.factors = reinterpret_cast<float*>(scratch + offsets[i][1]);
    of.totals = reinterpret_cast<double*>(scratch + offsets[i][2]);
  }

  dispatch("coss_loss", student.dtype(), [&]<class T>() {
    const T *s = student.data<T>(), *t = teacher.data<T>();
    T* ds = dstudent.mutable_data<T>();
    float* out = terms.mutable_data<float>();
    auto run = [&]<int N>() {
      launch(ctx, {"coss_products", tiles, kTileThreads}, coss_products<N, T>, s, t, int(rows_per_block), of_rows,
             of_columns);
      launch(ctx, {"coss_factors", unsigned(of_rows.blocks + of_columns.blocks), kTileThreads}, coss_factors, of_rows,
             of_columns);
      launch(ctx, {"coss_gradient", tiles, kTileThreads}, coss_gradient<N, T>, s, t, int(rows_per_block), of_rows,
             of_columns, out, ds);
    };
    if (vectors)
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

}  // namespace coss::cuda
