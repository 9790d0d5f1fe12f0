// Contrast with a queue. A block has kTile rows and a part of the queue. It computes their products tile by tile in
// shared memory, and twice: first for the sums of both softmaxes (running maxima), then, when these are joined, for the
// weights of the gradient, p_student - p_teacher, which a last product multiplies by the queue's rows. So 5 N K width
// multiplications are done in f32, and the queue is read twice per kTile rows, mostly from the L2 cache. Parts are
// joined in order.
#include <algorithm>
#include <utility>

#include "engine/cuda/device.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kTile = 64;  // rows, and keys, of a tile of products
constexpr int kSide = 16;  // threads along one edge of a tile
constexpr int kEach = kTile / kSide;
constexpr int kThreads = kSide * kSide;
constexpr int kDepth = 16;  // columns of rows and keys that are in shared memory at a time
constexpr int kStep = kTile + 1;
constexpr int64_t kPartialBytes = 64 << 20;  // bytes of the gradient's partial sums, at most
constexpr float kNothing = -std::numeric_limits<float>::infinity();

// A side is the student or the teacher: rows (N,width), own partners (N,width) or null, queue (K,width).
struct Side {
  const float *rows, *own, *queue;
  int64_t width;
  float inverse;  // 1 / temperature
};

// Sums of one row over a part of the queue. `chosen` is for the teacher only: its weights times the student's products.
struct Sums {
  float greatest = kNothing, sum = 0, slope = 0, chosen = 0;
};
// Sums of one row over the whole queue: what the gradient needs, and the weight of the own pair.
struct Joined {
  float student_greatest, student_inverse_sum, teacher_greatest, teacher_inverse_sum, own;
};

struct Problem {
  Side student, teacher;  // teacher.rows is null without a teacher
  int64_t rows, keys, keys_per_part;
  bool divergence;
};

// x[i][j] = the product of row first_row + ty + 16 i and key first_key + tx + 16 j.
template <class Left, class Right>
__device__ inline void multiply(const Side& side, int64_t first_row, int64_t rows, int64_t first_key, int64_t keys,
                                Left& left, Right& right, float (&x)[kEach][kEach]) {
  const int tx = int(threadIdx.x) % kSide, ty = int(threadIdx.x) / kSide;
  COSS_UNROLL
  for (int i = 0; i < kEach; ++i) {
    COSS_UNROLL
    for (int j = 0; j < kEach; ++j) x[i][j] = 0;
  }
  for (int64_t d = 0; d < side.width; d += kDepth) {
    // Thread (ty, tx) loads column tx of rows ty + 16 i.
    COSS_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int place = ty + i * kSide;
      const bool inside = d + tx < side.width;
      left[tx * kStep + place] =
          inside && first_row + place < rows ? side.rows[(first_row + place) * side.width + d + tx] : 0.0f;
      right[tx * kStep + place] =
          inside && first_key + place < keys ? side.queue[(first_key + place) * side.width + d + tx] : 0.0f;
    }
    __syncthreads();
    COSS_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      float a[kEach], b[kEach];
      COSS_UNROLL
      for (int i = 0; i < kEach; ++i) a[i] = left[k * kStep + ty + i * kSide];
      COSS_UNROLL
      for (int j = 0; j < kEach; ++j) b[j] = right[k * kStep + tx + j * kSide];
      COSS_UNROLL
      for (int i = 0; i < kEach; ++i) {
        COSS_UNROLL
        for (int j = 0; j < kEach; ++j) x[i][j] += a[i] * b[j];
      }
    }
    __syncthreads();
  }
}

// The sum over the 16 threads of a row.
__device__ inline float row_sum(float value) {
  COSS_UNROLL
  for (int step = kSide / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ inline float row_max(float value) {
  COSS_UNROLL
  for (int step = kSide / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// Adds the products of a row with a tile of keys, `count` of which exist, to its sums. `other` may be null.
__device__ inline void add_tile(const float (&x)[kEach], const float* other, int count, float inverse, Sums& sums) {
  const int tx = int(threadIdx.x) % kSide;
  float greatest = sums.greatest;
  COSS_UNROLL
  for (int j = 0; j < kEach; ++j)
    if (tx + j * kSide < count) greatest = fmaxf(greatest, x[j]);
  greatest = row_max(greatest);
  Sums tile;
  COSS_UNROLL
  for (int j = 0; j < kEach; ++j) {
    if (tx + j * kSide >= count) continue;
    const float distance = x[j] - greatest, weight = expf(distance * inverse);
    tile.sum += weight;
    tile.slope += weight * distance;
    if (other) tile.chosen += weight * other[j];
  }
  const float step = sums.greatest - greatest, shrink = expf(step * inverse);  // 0 before the first tile
  const float before = sums.sum > 0 ? sums.slope + sums.sum * step : 0.0f;
  sums.greatest = greatest;
  sums.sum = sums.sum * shrink + row_sum(tile.sum);
  sums.slope = before * shrink + row_sum(tile.slope);
  sums.chosen = sums.chosen * shrink + row_sum(tile.chosen);
}

__global__ void __launch_bounds__(kThreads) queue_sums(Problem p, Sums* student_sums, Sums* teacher_sums) {
  COSS_SHARED(float, left, kDepth* kStep);
  COSS_SHARED(float, right, kDepth* kStep);
  const int tx = int(threadIdx.x) % kSide, ty = int(threadIdx.x) / kSide;
  const int64_t first_row = int64_t(blockIdx.x) * kTile, begin = int64_t(blockIdx.y) * p.keys_per_part;
  const int64_t end = begin + p.keys_per_part < p.keys ? begin + p.keys_per_part : p.keys;
  Sums student[kEach], teacher[kEach];
  for (int64_t key = begin; key < end; key += kTile) {
    const int count = int(end - key < kTile ? end - key : kTile);
    float s[kEach][kEach], t[kEach][kEach];
    multiply(p.student, first_row, p.rows, key, end, left, right, s);
    COSS_UNROLL
    for (int i = 0; i < kEach; ++i) add_tile(s[i], nullptr, count, p.student.inverse, student[i]);
    if (!p.teacher.rows) continue;
    multiply(p.teacher, first_row, p.rows, key, end, left, right, t);
    COSS_UNROLL
    for (int i = 0; i < kEach; ++i) add_tile(t[i], s[i], count, p.teacher.inverse, teacher[i]);
  }
  if (tx > 0) return;
  COSS_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int64_t row = first_row + ty + i * kSide;
    if (row >= p.rows) continue;
    student_sums[int64_t(blockIdx.y) * p.rows + row] = student[i];
    if (p.teacher.rows) teacher_sums[int64_t(blockIdx.y) * p.rows + row] = teacher[i];
  }
}

// The product of row r with its own partner, computed by a warp.
__device__ inline float own_product(const Side& side, int64_t r) {
  float sum = 0;
  for (int64_t d = int64_t(threadIdx.x); d < side.width; d += kWarp)
    sum += side.rows[r * side.width + d] * side.own[r * side.width + d];
  return warp_sum(sum);
}

struct Whole {
  double greatest, sum = 0, slope = 0, chosen = 0, own = 0;
};
// Joins the parts in order, then the own pair, whose product with the student is `own_chosen`.
__device__ inline Whole joined(const Side& side, const Sums* sums, int parts, int64_t rows, int64_t r, float own,
                               float own_chosen) {
  Whole all{side.own ? double(own) : double(kNothing)};
  for (int i = 0; i < parts; ++i) {
    const double greatest = double(sums[i * rows + r].greatest);
    if (greatest > all.greatest) all.greatest = greatest;
  }
  const double inverse = double(side.inverse);
  for (int i = 0; i < parts; ++i) {
    const Sums part = sums[i * rows + r];
    const double step = double(part.greatest) - all.greatest, share = exp(step * inverse);
    all.sum += share * double(part.sum);
    all.slope += share * (double(part.slope) + step * double(part.sum));
    all.chosen += share * double(part.chosen);
  }
  if (side.own) {
    const double step = double(own) - all.greatest;
    all.own = exp(step * inverse);
    all.sum += all.own;
    all.slope += all.own * step;
    all.chosen += all.own * double(own_chosen);
  }
  return all;
}

// A warp per row.
__global__ void __launch_bounds__(kWarp)
    queue_join(Problem p, const Sums* student_sums, const Sums* teacher_sums, int parts, Joined* out, float* values) {
  const int64_t r = int64_t(blockIdx.x);
  const float own_student = p.student.own ? own_product(p.student, r) : 0.0f;
  const float own_teacher = p.teacher.own ? own_product(p.teacher, r) : 0.0f;
  if (threadIdx.x > 0) return;
  const Whole guess = joined(p.student, student_sums, parts, p.rows, r, own_student, 0);
  Joined result{float(guess.greatest), float(1 / guess.sum), 0, 0, float(guess.own / guess.sum)};
  double chosen = double(own_student), entropy = 0;
  if (p.teacher.rows) {
    const Whole target = joined(p.teacher, teacher_sums, parts, p.rows, r, own_teacher, own_student);
    chosen = target.chosen / target.sum;
    if (p.divergence) entropy = target.slope / target.sum * double(p.teacher.inverse) - log(target.sum);
    result.teacher_greatest = float(target.greatest);
    result.teacher_inverse_sum = float(1 / target.sum);
    result.own = float(guess.own / guess.sum - target.own / target.sum);
  } else {
    result.own = float(guess.own / guess.sum - 1);
  }
  out[r] = result;
  values[r] = float(log(guess.sum) - (chosen - guess.greatest) * double(p.student.inverse) + entropy);
}

__global__ void __launch_bounds__(kThreads) queue_mean(const float* values, float* loss, int64_t rows) {
  double own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) own += double(values[r]);
  const double total = block_sum<kThreads>(own);
  if (threadIdx.x == 0) *loss = float(total / double(rows));
}

// partial (parts, N, width) = for each part of the queue, its weights times its rows.
__global__ void __launch_bounds__(kThreads) queue_gradient(Problem p, const Joined* joined_rows, float* partial) {
  COSS_SHARED(float, left, kDepth* kStep);
  COSS_SHARED(float, right, kDepth* kStep);
  COSS_SHARED(float, weights, kTile* kStep);
  const int tx = int(threadIdx.x) % kSide, ty = int(threadIdx.x) / kSide;
  const int64_t first_row = int64_t(blockIdx.x) * kTile, begin = int64_t(blockIdx.y) * p.keys_per_part;
  const int64_t end = begin + p.keys_per_part < p.keys ? begin + p.keys_per_part : p.keys;
  const int64_t width = p.student.width;
  float* const out = partial + int64_t(blockIdx.y) * p.rows * width;
  Joined joined_row[kEach];
  COSS_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int64_t row = first_row + ty + i * kSide;
    joined_row[i] = row < p.rows ? joined_rows[row] : Joined{};
  }
  for (int64_t key = begin; key < end; key += kTile) {
    float s[kEach][kEach], t[kEach][kEach];
    multiply(p.student, first_row, p.rows, key, end, left, right, s);
    if (p.teacher.rows) multiply(p.teacher, first_row, p.rows, key, end, left, right, t);
    COSS_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const Joined& of = joined_row[i];
      COSS_UNROLL
      for (int j = 0; j < kEach; ++j) {
        float weight = expf((s[i][j] - of.student_greatest) * p.student.inverse) * of.student_inverse_sum;
        if (p.teacher.rows)
          weight -= expf((t[i][j] - of.teacher_greatest) * p.teacher.inverse) * of.teacher_inverse_sum;
        const bool inside = key + tx + j * kSide < end && first_row + ty + i * kSide < p.rows;
        weights[(ty + i * kSide) * kStep + tx + j * kSide] = inside ? weight : 0.0f;
      }
    }
    __syncthreads();
    // The result has tiles of kTile columns; `left` holds kDepth rows of the queue at a time.
    for (int64_t column = 0; column < width; column += kTile) {
      float sums[kEach][kEach] = {};
      for (int k = 0; k < kTile; k += kDepth) {
        COSS_UNROLL
        for (int j = 0; j < kEach; ++j) {
          const int64_t at = column + tx + j * kSide;
          left[ty * kStep + tx + j * kSide] =
              at < width && key + k + ty < end ? p.student.queue[(key + k + ty) * width + at] : 0.0f;
        }
        __syncthreads();
        COSS_UNROLL
        for (int m = 0; m < kDepth; ++m) {
          float a[kEach], b[kEach];
          COSS_UNROLL
          for (int i = 0; i < kEach; ++i) a[i] = weights[(ty + i * kSide) * kStep + k + m];
          COSS_UNROLL
          for (int j = 0; j < kEach; ++j) b[j] = left[m * kStep + tx + j * kSide];
          COSS_UNROLL
          for (int i = 0; i < kEach; ++i) {
            COSS_UNROLL
            for (int j = 0; j < kEach; ++j) sums[i][j] += a[i] * b[j];
          }
        }
        __syncthreads();
      }
      COSS_UNROLL
      for (int i = 0; i < kEach; ++i) {
        COSS_UNROLL
        for (int j = 0; j < kEach; ++j) {
          const int64_t row = first_row + ty + i * kSide, at = column + tx + j * kSide;
          if (row >= p.rows || at >= width) continue;
          float* const place = out + row * width + at;
          *place = key == begin ? sums[i][j] : *place + sums[i][j];
        }
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    queue_gradient_join(Problem p, const float* partial, int parts, const Joined* joined_rows, float* dstudent) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x, count = p.rows * p.student.width;
  if (i >= count) return;
  float sum = p.student.own ? joined_rows[i / p.student.width].own * p.student.own[i] : 0.0f;
  for (int part = 0; part < parts; ++part) sum += partial[part * count + i];
  dstudent[i] = sum * p.student.inverse / float(p.rows);
}

// Writes only the last `size` rows; the earlier ones would be overwritten.
__global__ void __launch_bounds__(kThreads) push_rows(const float* rows, const int64_t* cursor, float* queue,
                                                      int64_t first, int64_t count, int64_t width, int64_t size) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= (count - first) * width) return;
  const int64_t r = first + i / width;
  queue[(*cursor + r) % size * width + i % width] = rows[r * width + i % width];
}
__global__ void push_cursor(int64_t* cursor, int64_t count) { *cursor += count; }

Side side_of(const Tensor& rows, const Tensor& own, const Tensor& queue, float temperature) {
  COSS_ASSERT(temperature > 0 && queue.shape()[1] == rows.shape()[1] && (own.empty() || own.shape() == rows.shape()));
  return {rows.data<float>(), own.empty() ? nullptr : own.data<float>(), queue.data<float>(), rows.shape()[1],
          1 / temperature};
}

}  // namespace

void queue_contrast(Context& ctx, const QueueContrastParams& params, const Tensor& student, const Tensor& own_student,
                    const Tensor& student_queue, const Tensor& teacher, const Tensor& own_teacher,
                    const Tensor& teacher_queue, Tensor& loss, Tensor& dstudent) {
  const bool taught = !teacher.empty();
  COSS_ASSERT(taught ? own_student.empty() == own_teacher.empty() : !own_student.empty());
  const int64_t rows = student.shape()[0], width = student.shape()[1], keys = student_queue.shape()[0];
  COSS_ASSERT(!taught || (teacher.shape()[0] == rows && teacher_queue.shape()[0] == keys));
  if (rows == 0) return zero_bytes(ctx, loss.mutable_raw(), loss.bytes());
  Problem p{
      side_of(student, own_student, student_queue, params.student_temperature), {}, rows, keys, 0, params.divergence};
  if (taught) p.teacher = side_of(teacher, own_teacher, teacher_queue, params.teacher_temperature);

  // About two blocks per multiprocessor, as far as the partial gradients have room.
  const int64_t row_tiles = blocks_for(rows, kTile), key_tiles = blocks_for(keys, kTile);
  const int64_t room = std::max<int64_t>(1, kPartialBytes / (rows * width * int64_t(sizeof(float))));
  const int64_t wanted = std::min({key_tiles, room, std::max<int64_t>(1, 2 * multiprocessors(ctx) / row_tiles)});
  const int64_t tiles_per_part = (key_tiles + wanted - 1) / wanted;
  p.keys_per_part = tiles_per_part * kTile;
  const int parts = int((key_tiles + tiles_per_part - 1) / tiles_per_part);

  size_t bytes = 0;
  const auto place = [&](int64_t count, size_t size) {
    return std::exchange(bytes, bytes + (size_t(count) * size + 255) / 256 * 256);
  };
  const size_t of_student = place(parts * rows, sizeof(Sums)), of_teacher = place(parts * rows, sizeof(Sums));
  const size_t of_rows = place(rows, sizeof(Joined)), of_values = place(rows, sizeof(float));
  const size_t of_partial = place(parts * rows * width, sizeof(float));
  char* scratch = static_cast<char*>(ctx.workspace(bytes));
  Sums* student_sums = reinterpret_cast<Sums*>(scratch + of_student);
  Sums* teacher_sums = reinterpret_cast<Sums*>(scratch + of_teacher);
  Joined* joined_rows = reinterpret_cast<Joined*>(scratch + of_rows);
  float* values = reinterpret_cast<float*>(scratch + of_values);
  float* partial = reinterpret_cast<float*>(scratch + of_partial);

  const dim3 grid{unsigned(row_tiles), unsigned(parts)};
  launch(ctx, {"queue_sums", grid, kThreads}, queue_sums, p, student_sums, teacher_sums);
  launch(ctx, {"queue_join", unsigned(rows), kWarp}, queue_join, p, student_sums, teacher_sums, parts, joined_rows,
         values);
  launch(ctx, {"queue_mean", 1, kThreads}, queue_mean, values, loss.mutable_data<float>(), rows);
  launch(ctx, {"queue_gradient", grid, kThreads}, queue_gradient, p, joined_rows, partial);
  launch(ctx, {"queue_gradient_join", blocks_for(rows * width, kThreads), kThreads}, queue_gradient_join, p, partial,
         parts, joined_rows, dstudent.mutable_data<float>());
}

void queue_push(Context& ctx, const Tensor& rows, Tensor& cursor, Tensor& queue) {
  const int64_t count = rows.shape()[0], width = rows.shape()[1], size = queue.shape()[0];
  COSS_ASSERT(queue.shape()[1] == width);
  if (count == 0) return;
  const int64_t first = std::max<int64_t>(0, count - size);
  int64_t* at = cursor.mutable_data<int64_t>();
  launch(ctx, {"push_rows", blocks_for((count - first) * width, kThreads), kThreads}, push_rows, rows.data<float>(), at,
         queue.mutable_data<float>(), first, count, width, size);
  launch(ctx, {"push_cursor", 1, 1}, push_cursor, at, count);
}

}  // namespace coss::cuda
