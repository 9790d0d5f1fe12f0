// Multi-head attention, one head of one image at a time: its keys (as columns) and values are brought into dense f32
// arrays, then blocks of queries go over blocks of keys with a running softmax (Milakov and Gimelshein, 2018), so the
// matrix of all scores never exists. Backward computes the probabilities again from the logarithms of their sums.
#include <limits>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/tile.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

constexpr int64_t kQueries = 48, kKeys = 256;               // of a block
constexpr int64_t kScoreStride = kKeys + kLanes;            // no power of two: rows would share cache sets
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;  // the kernel works with powers of two

struct Problem {
  int64_t images, tokens, queries, heads, channels;  // channels of one head
  int64_t lanes;                                     // channels, as whole vectors
  float scale;

  Problem(const AttentionParams& p, const Tensor& qkv, const Tensor& y)
      : images(qkv.shape()[0]),
        tokens(qkv.shape()[1]),
        queries(y.shape()[1]),
        heads(p.heads),
        channels(y.shape()[2] / p.heads),
        lanes(rounded_up(channels, kLanes)),
        scale(float(1 / std::sqrt(double(channels)))) {}

  int64_t width() const { return heads * channels; }
  int64_t blocks() const { return (tokens + kKeys - 1) / kKeys; }
  int64_t keys_of(int64_t block) const { return std::min(kKeys, tokens - block * kKeys); }
  int64_t query_rows() const { return std::min(kQueries, rounded_up(queries, kTileRows)); }
  // Sizes of arrays that hold all tokens: as rows, with room for the last tile, and as columns.
  int64_t row_count() const { return rounded_up(tokens + kTileRows, kTileRows) * lanes; }
  int64_t column_count() const { return blocks() * lanes * kScoreStride; }
  int64_t column_block(int64_t block) const { return block * lanes * kScoreStride; }
  int64_t memory() const { return images * tokens * width() * 16; }  // bytes of traffic, to choose the threads
};

// to (rows, lanes) = from * factor, with zeros after the channels.
template <class T>
void pack_rows(const Problem& p, const T* from, int64_t stride, int64_t rows, float factor, float* to) {
  for (int64_t r = 0; r < rows; ++r)
    for_vectors(0, p.channels,
                [&](int64_t c, auto n) { store(to + r * p.lanes + c, get(from + r * stride + c, n) * factor); });
}

// Writes the tokens of a block as columns into `to` (channels, kScoreStride), with zeros up to a whole vector.
template <class T>
void pack_columns(const Problem& p, const T* from, int64_t stride, int64_t keys, float* to) {
  for (int64_t first = 0; first < keys; first += kLanes) {
    for_vectors(0, p.channels, [&](int64_t c, auto n) {
      Vec square[kLanes];
      for (int64_t i = 0; i < kLanes; ++i)
        square[i] = first + i < keys ? get(from + (first + i) * stride + c, n) : Vec{};
      transpose(square);
      for (int64_t i = 0; i < kLanes; ++i) store(to + (c + i) * kScoreStride + first, square[i]);
    });
  }
}
template <class T>
void pack_all_columns(const Problem& p, const T* from, int64_t stride, float* to) {
  for (int64_t block = 0; block < p.blocks(); ++block)
    pack_columns(p, from + block * kKeys * stride, stride, p.keys_of(block), to + p.column_block(block));
}

template <class T>
void unpack_row(const Problem& p, const float* from, float factor, T* to) {
  for_vectors(0, p.channels, [&](int64_t c, auto n) { put(to + c, load(from + c) * factor, n); });
}

// Scores; those after the last key are minus infinity.
inline Vec score_at(const float* row, int64_t key, int64_t keys) {
  const Vec score = load(row + key);
  return key + kLanes <= keys
             ? score
             : select(first_lanes(keys - key), score, broadcast(-std::numeric_limits<float>::infinity()));
}

// Turns a row of scores into exp2(score - greatest), and scales the output so far to the new greatest.
void softmax_step(const Problem& p, int64_t keys, float* scores, float& greatest, float& sum, float* out) {
  Vec top = broadcast(greatest);
  for (int64_t key = 0; key < keys; key += kLanes) top = larger(top, score_at(scores, key, keys));
  top = max_everywhere(top);
  Vec total{};
  for (int64_t key = 0; key < keys; key += kLanes) {
    const Vec e = exp2(score_at(scores, key, keys) - top);
    store(scores + key, e);
    total += key + kLanes <= keys ? e : keep(first_lanes(keys - key), e);
  }
  const Vec shrink = exp2(broadcast(greatest) - top);
  if (sum != 0)
    for (int64_t c = 0; c < p.lanes; c += kLanes) store(out + c, load(out + c) * shrink);
  sum = sum * shrink[0] + sum_everywhere(total)[0];
  greatest = top[0];
}

template <class T>
void forward(Context& ctx, const Problem& p, const T* qkv, T* y, float* lse) {
  const int64_t stride = 3 * p.width(), rows = p.query_rows();
  const int parts = threads_for(p.memory());
  const int64_t each = p.column_count() + p.row_count() + rows * (2 * p.lanes + kScoreStride);
  Scratch scratch(ctx, Scratch::size_of<float>(each * parts));
  float* memory = scratch.take<float>(each * parts);
  parallel_parts(p.images * p.heads, 1, parts, [=](int part, int64_t begin, int64_t end) {
    float* const keys = memory + part * each;
    float *const values = keys + p.column_count(), *const asked = values + p.row_count();
    float *const out = asked + rows * p.lanes, *const scores = out + rows * p.lanes;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t image = item / p.heads, head = item % p.heads;
      const T* from = qkv + image * p.tokens * stride + head * p.channels;
      pack_all_columns(p, from + p.width(), stride, keys);
      pack_rows(p, from + 2 * p.width(), stride, p.tokens, 1, values);
      for (int64_t first = 0; first < p.queries; first += rows) {
        const int64_t count = std::min(rows, p.queries - first), tiles = rounded_up(count, kTileRows);
        std::fill_n(asked, rows * p.lanes, 0.0f);
        pack_rows(p, from + first * stride, stride, count, p.scale * kLog2E, asked);
        float greatest[kQueries], sum[kQueries] = {};
        std::fill_n(greatest, kQueries, -std::numeric_limits<float>::infinity());
        for (int64_t block = 0; block < p.blocks(); ++block) {
          const int64_t n = p.keys_of(block);
          multiply(tiles, (n + kLanes - 1) / kLanes, p.channels, asked, p.lanes, keys + p.column_block(block),
                   kScoreStride, scores, kScoreStride, false);
          for (int64_t r = 0; r < tiles; ++r)
            softmax_step(p, n, scores + r * kScoreStride, greatest[r], sum[r], out + r * p.lanes);
          multiply(tiles, p.lanes / kLanes, n, scores, kScoreStride, values + block * kKeys * p.lanes, p.lanes, out,
                   p.lanes, block > 0);
        }
        for (int64_t r = 0; r < count; ++r) {
          const int64_t query = first + r;
          unpack_row(p, out + r * p.lanes, 1 / sum[r], y + (image * p.queries + query) * p.width() + head * p.channels);
          lse[item * p.queries + query] = greatest[r] * kLn2 + std::log(sum[r]);
        }
      }
    }
  });
}

// dot(a, b) of one row
template <class T>
float product(const T* a, const T* b, int64_t count) {
  Vec total{};
  for_vectors(0, count, [&](int64_t c, auto n) { total += get(a + c, n) * get(b + c, n); });
  return sum_everywhere(total)[0];
}

template <class T>
void backward(Context& ctx, const Problem& p, const T* qkv, const T* y, const float* lse, const T* dy, T* dqkv) {
  const int64_t stride = 3 * p.width(), rows = p.query_rows();
  const int parts = threads_for(2 * p.memory());
  const int64_t all_rows = p.row_count(), block_rows = rows * p.lanes, block_scores = rows * kScoreStride;
  const int64_t each = 2 * p.column_count() + 3 * all_rows + 3 * block_rows + 2 * block_scores;
  Scratch scratch(ctx, Scratch::size_of<float>(each * parts));
  float* memory = scratch.take<float>(each * parts);
  parallel_parts(p.images * p.heads, 1, parts, [=](int part, int64_t begin, int64_t end) {
    float* next = memory + part * each;
    auto take = [&](int64_t count) { return std::exchange(next, next + count); };
    float *const key_columns = take(p.column_count()), *const value_columns = take(p.column_count());
    float *const keys = take(all_rows), *const dkeys = take(all_rows), *const dvalues = take(all_rows);
    float *const asked = take(block_rows), *const dasked = take(block_rows), *const slope = take(block_rows);
    float *const chances = take(block_scores), *const dscores = take(block_scores);
    // A tile also reads columns after the last key of a block; after a whole block these stay zero.
    std::fill_n(chances, 2 * block_scores, 0.0f);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t image = item / p.heads, head = item % p.heads;
      const T* from = qkv + image * p.tokens * stride + head * p.channels;
      T* to = dqkv + image * p.tokens * stride + head * p.channels;
      const int64_t place = image * p.queries * p.width() + head * p.channels;  // in y and dy
      pack_all_columns(p, from + p.width(), stride, key_columns);
      pack_all_columns(p, from + 2 * p.width(), stride, value_columns);
      pack_rows(p, from + p.width(), stride, p.tokens, 1, keys);
      std::fill_n(dkeys, 2 * all_rows, 0.0f);  // and dvalues
      for (int64_t first = 0; first < p.queries; first += rows) {
        const int64_t count = std::min(rows, p.queries - first), tiles = rounded_up(count, kTileRows);
        std::fill_n(asked, 3 * block_rows, 0.0f);  // dasked and slope as well
        pack_rows(p, from + first * stride, stride, count, p.scale * kLog2E, asked);
        pack_rows(p, dy + place + first * p.width(), p.width(), count, 1, slope);
        for (int64_t block = 0; block < p.blocks(); ++block) {
          const int64_t n = p.keys_of(block), vectors = (n + kLanes - 1) / kLanes;
          const float* const some_keys = keys + block * kKeys * p.lanes;
          multiply(tiles, vectors, p.channels, asked, p.lanes, key_columns + p.column_block(block), kScoreStride,
                   chances, kScoreStride, false);
          multiply(tiles, vectors, p.channels, slope, p.lanes, value_columns + p.column_block(block), kScoreStride,
                   dscores, kScoreStride, false);
          for (int64_t r = 0; r < count; ++r) {
            const int64_t row = place + (first + r) * p.width();
            const float delta = product(dy + row, y + row, p.channels);
            const float log_sum = lse[item * p.queries + first + r] * kLog2E;
            float *chance = chances + r * kScoreStride, *dscore = dscores + r * kScoreStride;
            for (int64_t key = 0; key < n; key += kLanes) {
              const Vec e = exp2(load(chance + key) - log_sum);
              store(chance + key, e);
              store(dscore + key, e * (load(dscore + key) - delta));
            }
          }
          multiply(tiles, p.lanes / kLanes, n, dscores, kScoreStride, some_keys, p.lanes, dasked, p.lanes, true);
          const int64_t key_rows = rounded_up(n, kTileRows), offset = block * kKeys * p.lanes;
          multiply<true>(key_rows, p.lanes / kLanes, count, dscores, kScoreStride, asked, p.lanes, dkeys + offset,
                         p.lanes, true);
          multiply<true>(key_rows, p.lanes / kLanes, count, chances, kScoreStride, slope, p.lanes, dvalues + offset,
                         p.lanes, true);
        }
        for (int64_t r = 0; r < count; ++r) unpack_row(p, dasked + r * p.lanes, p.scale, to + (first + r) * stride);
      }
      for (int64_t token = 0; token < p.tokens; ++token) {
        if (token >= p.queries) std::fill_n(to + token * stride, p.channels, T(0.0f));
        // The queries were multiplied by scale * log2(e) for the scores.
        unpack_row(p, dkeys + token * p.lanes, kLn2, to + token * stride + p.width());
        unpack_row(p, dvalues + token * p.lanes, 1, to + token * stride + 2 * p.width());
      }
    }
  });
}

}  // namespace

void attention_forward(Context& ctx, const AttentionParams& params, const Tensor& qkv, Tensor& y, Tensor& lse) {
  if (y.numel() == 0) return;
  const Problem problem(params, qkv, y);
  dispatch("attention", qkv.dtype(),
           [&]<class T>() { forward(ctx, problem, qkv.data<T>(), y.mutable_data<T>(), lse.mutable_data<float>()); });
}

void attention_backward(Context& ctx, const AttentionParams& params, const Tensor& qkv, const Tensor& y,
                        const Tensor& lse, const Tensor& dy, Tensor& dqkv) {
  if (y.numel() == 0) return;
  const Problem problem(params, qkv, y);
  dispatch("attention", qkv.dtype(), [&]<class T>() {
    backward(ctx, problem, qkv.data<T>(), y.data<T>(), lse.data<float>(), dy.data<T>(), dqkv.mutable_data<T>());
  });
}

}  // namespace coss::cpu
