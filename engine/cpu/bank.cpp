// CRD's contrast with memory banks, in one pass: the loss of a draw depends on its own product only, so its part of the
// value and of both gradients is added while its two rows of the banks are still in the cache.
#include "engine/math/bank.h"

#include <utility>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

constexpr int kChunk = 256;  // draws between two additions to the sums in double

// --- sums of sixteen vectors at once -------------------------------------------------------------------------------

// Puts the sums of a's halves, then the sums of b's halves, into each block of 2 * kWidth lanes.
template <int kWidth, size_t... kLane>
Vec paired(Vec a, Vec b, std::index_sequence<kLane...>) {
  constexpr auto from = [](size_t lane, int half) {
    const int i = int(lane), block = i / (2 * kWidth) * 2 * kWidth;
    return block + i % kWidth + half * kWidth + (i % (2 * kWidth) < kWidth ? 0 : kLanes);
  };
  return __builtin_shufflevector(a, b, from(kLane, 0)...) + __builtin_shufflevector(a, b, from(kLane, 1)...);
}
// Lane i of the result is the sum of the lanes of v[i].
template <int kWidth = 1>
Vec sums_of(const Vec* v) {
  if constexpr (kWidth == kLanes)
    return *v;
  else
    return paired<kWidth>(sums_of<2 * kWidth>(v), sums_of<2 * kWidth>(v + kWidth),
                          std::make_index_sequence<size_t(kLanes)>());
}

// log(1 + x), x >= 0. Most draws are unlikely: x is small, and 2 atanh(x / (2 + x)) has few terms.
Vec log_one_plus(Vec x) {
  if (less(broadcast(0.5f), x)) {
    for (int i = 0; i < kLanes; ++i) x[i] = std::log1p(x[i]);
    return x;
  }
  const Vec s = x / (x + 2.0f), q = s * s;
  Vec p = q * (2.0f / 11) + 2.0f / 9;
  p = p * q + 2.0f / 7;
  p = p * q + 2.0f / 5;
  p = p * q + 2.0f / 3;
  p = p * q + 2.0f;
  return p * s;
}

// --- one row of the batch ------------------------------------------------------------------------------------------

struct Banks {
  const float* rows[2];  // [0]: the teacher's bank, for student rows; [1]: the student's
  int64_t width;
};

// Writes the images of draws [first, first + n) of a row, n <= kChunk, and repeats the last one up to a multiple of 16.
void draw_images(const NegativeDraw& draw, const int32_t* order, int64_t first, int64_t n, int32_t* images) {
  const uint32_t count = draw.count();
  for (int64_t j = 0; j < n; j += kLanes) {
    VecU x;
    if (uint32_t(first + n) <= count) {
      for (int i = 0; i < kLanes; ++i) x[i] = uint32_t(first + std::min(j + i, n - 1));
      VecU outside = ~VecU{};
      do {
        x = (outside & draw.permuted(x, 0)) | (~outside & x);
        outside = (VecU)(x >= count);
      } while (equal((VecI)outside, VecI{}) != kAllLanes);
      x += (VecU)(x >= draw.own_begin()) & draw.own_count();
    } else {
      for (int i = 0; i < kLanes; ++i) x[i] = draw.place(uint32_t(first + std::min(j + i, n - 1)));
    }
    for (int i = 0; i < kLanes; ++i) images[j + i] = order[x[i]];
  }
}

Vec products(const float* row, const float* bank, int64_t width, const int32_t* images) {
  const float* places[kLanes];
  for (int i = 0; i < kLanes; ++i) places[i] = bank + images[i] * width;
  Vec totals[kLanes] = {};
  for_vectors(0, width, [&](int64_t c, auto n) {
    const Vec own = get(row + c, n);
    for (int i = 0; i < kLanes; ++i) totals[i] += own * get(places[i] + c, n);
  });
  return sums_of(totals);
}

void add_scaled(Vec factors, const float* bank, int64_t width, const int32_t* images, float* gradient) {
  const float* places[kLanes];
  for (int i = 0; i < kLanes; ++i) places[i] = bank + images[i] * width;
  for_vectors(0, width, [&](int64_t c, auto n) {
    Vec even = get(gradient + c, n), odd{};
    for (int i = 0; i < kLanes; i += 2) {
      even += get(places[i] + c, n) * factors[i];
      odd += get(places[i + 1] + c, n) * factors[i + 1];
    }
    put(gradient + c, even + odd, n);
  });
}

void prefetch_rows(const Banks& banks, const int32_t* images) {
  for (int i = 0; i < kLanes; ++i)
    for (const float* rows : banks.rows) prefetch(rows + images[i] * banks.width, banks.width);
}

// Calls body(images, lanes) for all draws of a row, sixteen at a time, and `after` for each chunk.
template <class Body, class After>
void for_draws(const NegativeDraw& draw, const int32_t* order, int64_t negatives, const Banks& banks, const Body& body,
               const After& after) {
  int32_t images[kChunk];
  for (int64_t first = 0; first < negatives && draw.count() > 0; first += kChunk) {
    const int64_t n = std::min<int64_t>(kChunk, negatives - first);
    draw_images(draw, order, first, n, images);
    prefetch_rows(banks, images);
    for (int64_t j = 0; j < n; j += kLanes) {
      if (j + kLanes < n) prefetch_rows(banks, images + j + kLanes);
      body(images + j, n - j < kLanes ? first_lanes(n - j) : kAllLanes);
    }
    after();
  }
}

double product(const float* a, const float* b, int64_t width) {
  Vec total{};
  for_vectors(0, width, [&](int64_t c, auto n) { total += get(a + c, n) * get(b + c, n); });
  return sum(total);
}

}  // namespace

void bank_contrast(Context& ctx, const BankContrastParams& p, const Tensor& step, const Tensor& indices,
                   const Tensor& labels, const Tensor& order, const Tensor& begin, const Tensor& student,
                   const Tensor& teacher, const Tensor& student_bank, const Tensor& teacher_bank, Tensor& constants,
                   Tensor& terms, Tensor& dstudent, Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1], images = order.numel();
  const int64_t classes = begin.numel() - 1, now = step.data<int64_t>()[0];
  const int32_t *index = indices.data<int32_t>(), *label = labels.data<int32_t>();
  const int32_t *by_class = order.data<int32_t>(), *first = begin.data<int32_t>();
  for (int64_t i = 0; i < rows; ++i)
    COSS_CHECK(label[i] >= 0 && label[i] < classes && index[i] >= 0 && index[i] < images,
               "[bank_contrast] row " + std::to_string(i) + " is image " + std::to_string(index[i]) + " of class " +
                   std::to_string(label[i]) + ", of " + std::to_string(images) + " images and " +
                   std::to_string(classes) + " classes");
  const Banks banks{{teacher_bank.data<float>(), student_bank.data<float>()}, width};
  const float* own[2] = {student.data<float>(), teacher.data<float>()};
  float* gradients[2] = {dstudent.mutable_data<float>(), dteacher.mutable_data<float>()};
  float* constant = constants.mutable_data<float>();
  const float scale = 1 / p.temperature;
  const double mu = double(p.negatives) / double(images);
  Scratch scratch(ctx, 2 * Scratch::size_of<double>(2 * rows));
  double* values = scratch.take<double>(2 * rows);  // per row: the student's loss, the teacher's loss
  double* counts = scratch.take<double>(2 * rows);

  auto draw_of = [&](int64_t i) {
    return NegativeDraw(p.seed, now, i, first[label[i]], first[label[i] + 1], int32_t(images));
  };
  auto positive_of = [&](const NegativeDraw& draw, int64_t i) -> int64_t {
    return p.relaxed ? by_class[draw.positive_place()] : index[i];
  };
  const int64_t row_bytes = (p.negatives + 1) * width * int64_t(2 * sizeof(float));

  if (constant[0] == 0 || constant[1] == 0) {  // the first batch of a run
    parallel_ranges(rows, 1, row_bytes, [&](int64_t from, int64_t end) {
      for (int64_t i = from; i < end; ++i) {
        const NegativeDraw draw = draw_of(i);
        const int64_t positive = positive_of(draw, i);
        double totals[2];
        for (int side = 0; side < 2; ++side)
          totals[side] =
              std::exp(product(own[side] + i * width, banks.rows[side] + positive * width, width) * double(scale));
        Vec part[2] = {};
        for_draws(
            draw, by_class, p.negatives, banks,
            [&](const int32_t* of, LaneBits lanes) {
              for (int side = 0; side < 2; ++side)
                part[side] += keep(lanes, exp(products(own[side] + i * width, banks.rows[side], width, of) * scale));
            },
            [&] {
              for (int side = 0; side < 2; ++side) totals[side] += sum(std::exchange(part[side], Vec{}));
            });
        for (int side = 0; side < 2; ++side) values[2 * i + side] = totals[side];
        counts[i] = 1 + double(draw.count() > 0 ? p.negatives : 0);
      }
    });
    for (int side = 0; side < 2; ++side) {
      double total = 0, count = 0;
      for (int64_t i = 0; i < rows; ++i) total += values[2 * i + side], count += counts[i];
      if (constant[side] == 0) constant[side] = float(total / count * double(images));
    }
  }

  const float inverse[2] = {1 / constant[0], 1 / constant[1]};
  const float inverse_mu = float(1 / mu), added = float(mu + kBankEps);
  parallel_ranges(rows, 1, row_bytes, [&](int64_t from, int64_t end) {
    for (int64_t i = from; i < end; ++i) {
      const NegativeDraw draw = draw_of(i);
      const int64_t positive = positive_of(draw, i);
      double totals[2] = {};
      Vec part[2] = {};
      for (float* gradient : gradients) std::fill_n(gradient + i * width, width, 0.0f);
      for_draws(
          draw, by_class, p.negatives, banks,
          [&](const int32_t* of, LaneBits lanes) {
            for (int side = 0; side < 2; ++side) {
              const float* bank = banks.rows[side];
              const Vec score = exp(products(own[side] + i * width, bank, width, of) * scale) * inverse[side];
              part[side] += keep(lanes, log_one_plus((score + float(kBankEps)) * inverse_mu));
              add_scaled(keep(lanes, score / (score + added)), bank, width, of, gradients[side] + i * width);
            }
          },
          [&] {
            for (int side = 0; side < 2; ++side) totals[side] += sum(std::exchange(part[side], Vec{}));
          });
      for (int side = 0; side < 2; ++side) {
        const float* place = banks.rows[side] + positive * width;
        float* gradient = gradients[side] + i * width;
        const double score =
            std::exp(product(own[side] + i * width, place, width) * double(scale)) / double(constant[side]);
        const double rest = mu + kBankEps;
        values[2 * i + side] = totals[side] + std::log1p(rest / score);
        const float slope = float(-rest / (score + rest)), share = scale / float(rows);
        for_vectors(0, width, [&](int64_t c, auto n) {
          put(gradient + c, (get(gradient + c, n) + get(place + c, n) * slope) * share, n);
        });
      }
    }
  });
  double totals[2] = {};
  for (int64_t i = 0; i < rows; ++i)
    for (int side = 0; side < 2; ++side) totals[side] += values[2 * i + side];
  float* out = terms.mutable_data<float>();
  out[0] = float((totals[0] + totals[1]) / double(rows));
  out[1] = float(totals[0] / double(rows));
  out[2] = float(totals[1] / double(rows));
}

void bank_update(Context&, float momentum, const Tensor& rows, const Tensor& indices, Tensor& bank) {
  const int64_t count = rows.shape()[0], width = rows.shape()[1], images = bank.shape()[0];
  const int32_t* index = indices.data<int32_t>();
  const float* in = rows.data<float>();
  float* out = bank.mutable_data<float>();
  for (int64_t i = 0; i < count; ++i) {
    COSS_CHECK(index[i] >= 0 && index[i] < images,
               "[bank_update] image " + std::to_string(index[i]) + " of " + std::to_string(images));
    if (std::find(index + i + 1, index + count, index[i]) != index + count) continue;  // a later one counts
    const float* row = in + i * width;
    float* place = out + index[i] * width;
    Vec squares{};
    for_vectors(0, width, [&](int64_t c, auto n) {
      const Vec mean = get(place + c, n) * momentum + get(row + c, n) * (1 - momentum);
      squares += mean * mean;
      put(place + c, mean, n);
    });
    const float factor = float(1 / std::max(std::sqrt(sum(squares)), 1e-12));
    for_vectors(0, width, [&](int64_t c, auto n) { put(place + c, get(place + c, n) * factor, n); });
  }
}

}  // namespace coss::cpu
