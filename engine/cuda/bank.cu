// CRD's contrast with memory banks. Each draw moves one row of both banks, negatives * width * 8 bytes for each row of
// the batch, mostly from the L2 cache, which holds banks of 50,000 x 128. All other traffic is small.
//
// kWarps warps share the draws of a row, 32 at a time: each lane draws one, then the warp computes a few draws at a
// time, with its lanes over the columns. The columns of both rows and of both gradients stay in registers. One block
// per row adds the sums of its warps in a fixed order, and one block adds the rows.
#include <limits>

#include "engine/cuda/device.h"
#include "engine/kernels.h"
#include "engine/math/bank.h"

namespace coss::cuda {
namespace {

constexpr int kBlockWarps = 4, kParts = 4, kWarps = kBlockWarps * kParts;  // warps for one row of the batch
constexpr int kThreads = kBlockWarps * kWarp;
// Draws that a warp loads at a time: as many as the registers hold.
template <int kColumns>
constexpr int kDrawsTogether = kColumns <= 4 ? 4 : 1;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kWidest = 512;  // columns

struct Contrast {
  const int64_t* step;
  const int32_t *indices, *labels, *order, *begin;
  const float* own[2];   // the student's rows, the teacher's
  const float* bank[2];  // the banks that they are compared with: the teacher's, the student's
  float* constants;
  double* sums;      // (rows, kWarps, 2): of exp, then of the negatives' losses
  float* gradients;  // (rows, kWarps, 2, width)
  double* values;    // (rows, 2)
  float* terms;
  float* result[2];  // gradients
  int64_t rows, images, classes, negatives;
  float scale;   // 1 / temperature
  double added;  // mu + eps
  double mu;
  uint64_t seed;
  int width;
  bool relaxed;
};

// Whether label and index of the row exist in the data. If not, its loss is NaN, which the run reports.
__device__ inline bool known(const Contrast& c, int64_t row) {
  const int32_t label = c.labels[row], index = c.indices[row];
  return label >= 0 && label < c.classes && index >= 0 && index < c.images;
}
__device__ inline NegativeDraw draw_of(const Contrast& c, int64_t row) {
  const int32_t* begin = c.begin + c.labels[row];
  return NegativeDraw(c.seed, *c.step, row, begin[0], begin[1], int32_t(c.images));
}
__device__ inline int64_t positive_of(const Contrast& c, const NegativeDraw& draw, int64_t row) {
  return c.relaxed ? c.order[draw.positive_place()] : c.indices[row];
}

// Calls body(t, products, places) for this warp's draws: t is the draw's number of 32, `products` are its products with
// both sides, `places` the columns of both banks that this lane holds. Calls after(lanes) for each 32 draws; `lanes` of
// them exist.
template <int kColumns, class Body, class After>
__device__ inline void for_draws(const Contrast& c, int64_t row, const float (&own)[2][kColumns], const Body& body,
                                 const After& after) {
  constexpr int kTogether = kDrawsTogether<kColumns>;
  const int lane = int(threadIdx.x) % kWarp, warp = int(blockIdx.y) * kBlockWarps + int(threadIdx.x) / kWarp;
  const NegativeDraw draw = draw_of(c, row);
  if (draw.count() == 0) return;
  for (int64_t first = int64_t(warp) * kWarp; first < c.negatives; first += kWarps * kWarp) {
    const int lanes = int(c.negatives - first < kWarp ? c.negatives - first : kWarp);
    const int32_t image = lane < lanes ? c.order[draw.place(uint32_t(first + lane))] : 0;
    for (int t = 0; t < lanes; t += kTogether) {
      float met[kTogether][2][kColumns], products[kTogether][2];
      COSS_UNROLL
      for (int k = 0; k < kTogether; ++k) {
        const int64_t place = int64_t(__shfl_sync(kAllLanes, image, t + k)) * c.width;
        COSS_UNROLL
        for (int side = 0; side < 2; ++side) {
          COSS_UNROLL
          for (int i = 0; i < kColumns; ++i) {
            const int column = lane + i * kWarp;
            met[k][side][i] = column < c.width ? c.bank[side][place + column] : 0.0f;
          }
        }
      }
      COSS_UNROLL
      for (int k = 0; k < kTogether; ++k) {
        COSS_UNROLL
        for (int side = 0; side < 2; ++side) {
          float part = 0;
          COSS_UNROLL
          for (int i = 0; i < kColumns; ++i) part += own[side][i] * met[k][side][i];
          products[k][side] = warp_sum(part);
        }
      }
      COSS_UNROLL
      for (int k = 0; k < kTogether; ++k)
        if (t + k < lanes) body(t + k, products[k], met[k]);
    }
    after(lanes);
  }
}

template <int kColumns>
__device__ inline void load_row(const Contrast& c, int64_t row, float (&own)[2][kColumns]) {
  COSS_UNROLL
  for (int side = 0; side < 2; ++side) {
    COSS_UNROLL
    for (int i = 0; i < kColumns; ++i) {
      const int column = int(threadIdx.x) % kWarp + i * kWarp;
      own[side][i] = column < c.width ? c.own[side][row * c.width + column] : 0.0f;
    }
  }
}

__device__ inline void write_sums(const Contrast& c, int64_t row, double (&sums)[2]) {
  const int warp = int(blockIdx.y) * kBlockWarps + int(threadIdx.x) / kWarp;
  COSS_UNROLL
  for (int side = 0; side < 2; ++side) {
    sums[side] = warp_sum(sums[side]);
    if (threadIdx.x % kWarp == 0) c.sums[(row * kWarps + warp) * 2 + side] = sums[side];
  }
}

// The product of a row with its positive; all threads of the block call it and get it.
__device__ inline float positive_product(const Contrast& c, int64_t row, int64_t positive, int side) {
  float part = 0;
  for (int d = int(threadIdx.x); d < c.width; d += kThreads)
    part += c.own[side][row * c.width + d] * c.bank[side][positive * c.width + d];
  return block_sum<kThreads>(part);
}

// --- the constants, in the first batch of a run --------------------------------------------------------------------

template <int kColumns>
__global__ void __launch_bounds__(kThreads) bank_exps(Contrast c) {
  if (c.constants[0] != 0 && c.constants[1] != 0) return;
  const int64_t row = blockIdx.x;
  double sums[2] = {};
  if (known(c, row)) {
    float own[2][kColumns];
    load_row(c, row, own);
    float mine[2] = {};
    const int lane = int(threadIdx.x) % kWarp;
    for_draws(
        c, row, own,
        [&](int t, const float(&products)[2], const float(&)[2][kColumns]) {
          if (lane != t) return;
          mine[0] = products[0];
          mine[1] = products[1];
        },
        [&](int lanes) {
          if (lane >= lanes) return;
          sums[0] += double(expf(mine[0] * c.scale));
          sums[1] += double(expf(mine[1] * c.scale));
        });
  }
  write_sums(c, row, sums);
}

__global__ void __launch_bounds__(kThreads) bank_constants(Contrast c) {
  const float old[2] = {c.constants[0], c.constants[1]};
  if (old[0] != 0 && old[1] != 0) return;
  double sums[2] = {}, count = 0;
  for (int64_t row = 0; row < c.rows; ++row) {
    if (!known(c, row)) continue;
    const NegativeDraw draw = draw_of(c, row);
    const int64_t positive = positive_of(c, draw, row);
    count += 1 + double(draw.count() > 0 ? c.negatives : 0);
    COSS_UNROLL
    for (int side = 0; side < 2; ++side) {
      sums[side] += double(expf(positive_product(c, row, positive, side) * c.scale));
      for (int warp = 0; warp < kWarps; ++warp) sums[side] += c.sums[(row * kWarps + warp) * 2 + side];
    }
  }
  __syncthreads();  // all have read the old constants
  if (threadIdx.x > 1) return;
  const bool first = threadIdx.x == 0;
  if ((first ? old[0] : old[1]) == 0)
    c.constants[threadIdx.x] = float((first ? sums[0] : sums[1]) / count * double(c.images));
}

// --- the loss ------------------------------------------------------------------------------------------------------

template <int kColumns>
__global__ void __launch_bounds__(kThreads) bank_negatives(Contrast c) {
  const int64_t row = blockIdx.x;
  const int lane = int(threadIdx.x) % kWarp, warp = int(blockIdx.y) * kBlockWarps + int(threadIdx.x) / kWarp;
  double sums[2] = {};
  float gradient[2][kColumns] = {};
  if (known(c, row)) {
    float own[2][kColumns];
    load_row(c, row, own);
    const float inverse[2] = {1 / c.constants[0], 1 / c.constants[1]};
    const float added = float(c.added), inverse_mu = float(1 / c.mu), eps = float(kBankEps);
    float mine[2] = {};
    for_draws(
        c, row, own,
        [&](int t, const float(&products)[2], const float(&met)[2][kColumns]) {
          COSS_UNROLL
          for (int side = 0; side < 2; ++side) {
            const float score = expf(products[side] * c.scale) * inverse[side];
            if (lane == t) mine[side] = (score + eps) * inverse_mu;
            const float slope = score / (score + added);
            COSS_UNROLL
            for (int i = 0; i < kColumns; ++i) gradient[side][i] += slope * met[side][i];
          }
        },
        [&](int lanes) {
          if (lane >= lanes) return;
          sums[0] += double(log1pf(mine[0]));
          sums[1] += double(log1pf(mine[1]));
        });
  }
  write_sums(c, row, sums);
  COSS_UNROLL
  for (int side = 0; side < 2; ++side) {
    COSS_UNROLL
    for (int i = 0; i < kColumns; ++i) {
      const int column = lane + i * kWarp;
      if (column < c.width) c.gradients[((row * kWarps + warp) * 2 + side) * c.width + column] = gradient[side][i];
    }
  }
}

// Adds the positive of each row and the sums of its warps.
__global__ void __launch_bounds__(kThreads) bank_rows(Contrast c) {
  const int64_t row = blockIdx.x;
  const bool is_known = known(c, row);
  const int64_t positive = is_known ? positive_of(c, draw_of(c, row), row) : 0;
  for (int side = 0; side < 2; ++side) {
    const double score = double(expf(positive_product(c, row, positive, side) * c.scale)) / double(c.constants[side]);
    const float slope = float(-c.added / (score + c.added)), share = c.scale / float(c.rows);
    for (int d = int(threadIdx.x); d < c.width; d += kThreads) {
      float total = 0;
      for (int warp = 0; warp < kWarps; ++warp) total += c.gradients[((row * kWarps + warp) * 2 + side) * c.width + d];
      c.result[side][row * c.width + d] = (total + slope * c.bank[side][positive * c.width + d]) * share;
    }
    if (threadIdx.x > 0) continue;
    double value = log1p(c.added / score);
    for (int warp = 0; warp < kWarps; ++warp) value += c.sums[(row * kWarps + warp) * 2 + side];
    c.values[row * 2 + side] = is_known ? value : double(kNaN);
  }
}

__global__ void __launch_bounds__(kThreads) bank_mean(Contrast c) {
  double own[2] = {};
  for (int64_t row = threadIdx.x; row < c.rows; row += kThreads) {
    own[0] += c.values[row * 2];
    own[1] += c.values[row * 2 + 1];
  }
  const double student = block_sum<kThreads>(own[0]) / double(c.rows);
  const double teacher = block_sum<kThreads>(own[1]) / double(c.rows);
  if (threadIdx.x > 0) return;
  c.terms[0] = float(student + teacher);
  c.terms[1] = float(student);
  c.terms[2] = float(teacher);
}

// --- the banks -----------------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads) move_rows(float momentum, const float* rows, const int32_t* indices,
                                                      float* bank, int64_t count, int64_t images, int width) {
  const int64_t row = blockIdx.x;
  const int32_t index = indices[row];
  int later = 0;
  for (int64_t i = row + 1 + int(threadIdx.x); i < count; i += kThreads) later += indices[i] == index;
  if (block_sum<kThreads>(later) > 0 || index < 0 || index >= images) return;  // a later one counts
  float* place = bank + index * int64_t(width);
  const float* x = rows + row * width;
  float squares = 0;
  for (int d = int(threadIdx.x); d < width; d += kThreads) {
    const float mean = momentum * place[d] + (1 - momentum) * x[d];
    place[d] = mean;
    squares += mean * mean;
  }
  const float length = fmaxf(sqrtf(block_sum<kThreads>(squares)), 1e-12f);
  for (int d = int(threadIdx.x); d < width; d += kThreads) place[d] /= length;
}

}  // namespace

void bank_contrast(Context& ctx, const BankContrastParams& p, const Tensor& step, const Tensor& indices,
                   const Tensor& labels, const Tensor& order, const Tensor& begin, const Tensor& student,
                   const Tensor& teacher, const Tensor& student_bank, const Tensor& teacher_bank, Tensor& constants,
                   Tensor& terms, Tensor& dstudent, Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1], images = order.numel();
  COSS_CHECK(width <= kWidest, "[bank_contrast] embeddings are " + std::to_string(width) + " wide, at most " +
                                   std::to_string(kWidest) + " are possible on this device");
  const size_t sums = size_t(rows) * kWarps * 2 * sizeof(double), values = size_t(rows) * 2 * sizeof(double);
  char* scratch = static_cast<char*>(ctx.workspace(sums + values + size_t(rows * kWarps * 2 * width) * sizeof(float)));
  const double mu = double(p.negatives) / double(images);
  Contrast c{.step = step.data<int64_t>(),
             .indices = indices.data<int32_t>(),
             .labels = labels.data<int32_t>(),
             .order = order.data<int32_t>(),
             .begin = begin.data<int32_t>(),
             .own = {student.data<float>(), teacher.data<float>()},
             .bank = {teacher_bank.data<float>(), student_bank.data<float>()},
             .constants = constants.mutable_data<float>(),
             .sums = reinterpret_cast<double*>(scratch),
             .gradients = reinterpret_cast<float*>(scratch + sums + values),
             .values = reinterpret_cast<double*>(scratch + sums),
             .terms = terms.mutable_data<float>(),
             .result = {dstudent.mutable_data<float>(), dteacher.mutable_data<float>()},
             .rows = rows,
             .images = images,
             .classes = begin.numel() - 1,
             .negatives = p.negatives,
             .scale = 1 / p.temperature,
             .added = mu + kBankEps,
             .mu = mu,
             .seed = p.seed,
             .width = int(width),
             .relaxed = p.relaxed};
  const dim3 blocks(unsigned(rows), kParts);
  auto run = [&]<int kColumns>() {
    launch(ctx, {"bank_exps", blocks, kThreads}, bank_exps<kColumns>, c);
    launch(ctx, {"bank_constants", 1, kThreads}, bank_constants, c);
    launch(ctx, {"bank_negatives", blocks, kThreads}, bank_negatives<kColumns>, c);
  };
  if (width <= 4 * kWarp)
    run.template operator()<4>();
  else
    run.template operator()<kWidest / kWarp>();
  launch(ctx, {"bank_rows", unsigned(rows), kThreads}, bank_rows, c);
  launch(ctx, {"bank_mean", 1, kThreads}, bank_mean, c);
}

void bank_update(Context& ctx, float momentum, const Tensor& rows, const Tensor& indices, Tensor& bank) {
  launch(ctx, {"bank_update", unsigned(rows.shape()[0]), kThreads}, move_rows, momentum, rows.data<float>(),
         indices.data<int32_t>(), bank.mutable_data<float>(), rows.shape()[0], bank.shape()[0], int(rows.shape()[1]));
}

}  // namespace coss::cuda
