// Losses over relations between the rows of a batch, from their inner products: value and gradient in one call. The
// matrices (N,N) are small, and a row stays in the cache until it is read again. Sums over the batch are in double.
#include <algorithm>

#include "engine/cpu/activation.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/squares.h"
#include "engine/kernels.h"
#include "engine/math/loss.h"

namespace coss::cpu {

namespace {

Vec clamped_to_one(Vec x) { return at_most(broadcast(1), at_least(broadcast(-1), x)); }
// 1 / x where x > 0, else 0.
Vec inverse(Vec x) {
  const LaneBits positive = less(Vec{}, x);
  return keep(positive, 1.0f / select(positive, x, broadcast(1)));
}

// log x for positive normal x, to about one unit in the last place: x = 2^n * m with m in [sqrt(1/2), sqrt(2)), log m
// from the series of artanh((m - 1) / (m + 1)).
Vec log(Vec x) {
  const VecI bits = (VecI)x, shifted = bits - std::bit_cast<int32_t>(0.70710678f);
  const VecI exponent = shifted >> 23;
  const Vec m = (Vec)(bits - (exponent << 23)), n = __builtin_convertvector(exponent, Vec);
  const Vec f = m - 1.0f, t = f / (m + 1.0f), square = t * t;
  Vec series = broadcast(2.0f / 11);
  series = series * square + 2.0f / 9;
  series = series * square + 2.0f / 7;
  series = series * square + 2.0f / 5;
  series = series * square + 2.0f / 3;
  // 2 t = f - f t keeps the digits of f.
  return n * 0.693359375f + (f + (t * (square * series - f) - n * 2.12194440e-4f));
}

double total_of(const double* values, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += values[i];
  return total;
}

}  // namespace

void sp_loss(Context& ctx, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  const double share = 1 / double(n * n);
  const float *student = student_gram.data<float>(), *teacher = teacher_gram.data<float>();
  float* out = dgram.mutable_data<float>();
  Scratch scratch(ctx, Scratch::size_of<double>(n));
  double* values = scratch.take<double>(n);
  parallel_ranges(n, 1, 12 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float *s = student + i * n, *t = teacher + i * n;
      const double length = std::sqrt(sum_of_squares(s, n));
      const float of_s = float(1 / std::max(length, 1e-12));
      const float of_t = float(1 / std::max(std::sqrt(sum_of_squares(t, n)), 1e-12));
      Vec squares{}, along{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const Vec unit = get(s + j, count) * of_s, difference = unit - get(t + j, count) * of_t;
        squares += difference * difference;
        along += difference * unit;
      });
      values[i] = sum(squares) * share;
      const float inward = length > 1e-12 ? float(sum(along)) : 0;  // a clamped norm is a constant
      const float factor = float(2 * share * double(of_s));
      for_vectors(0, n, [&](int64_t j, auto count) {
        const Vec unit = get(s + j, count) * of_s;
        put(out + i * n + j, (unit - get(t + j, count) * of_t - unit * inward) * factor, count);
      });
    }
  });
  loss.mutable_data<float>()[0] = float(total_of(values, n));
}

void pkt_loss(Context& ctx, const Tensor& student_cosines, const Tensor& teacher_cosines, Tensor& loss,
              Tensor& dcosines) {
  constexpr float kEps = 1e-7f;
  const int64_t n = student_cosines.shape()[0];
  const double share = 1 / double(n * n);
  const float *student = student_cosines.data<float>(), *teacher = teacher_cosines.data<float>();
  float* out = dcosines.mutable_data<float>();
  Scratch scratch(ctx, Scratch::size_of<double>(n));
  double* values = scratch.take<double>(n);
  // 1 / the row's sum of (cosine + 1) / 2
  const auto inverse_sum = [n](const float* row) {
    Vec sums{};
    for_vectors(0, n,
                [&](int64_t j, auto count) { sums += keep(first_lanes(count), get(row + j, count) * 0.5f + 0.5f); });
    return 1 / std::max(sum(sums), 1e-12);
  };
  parallel_ranges(n, 1, 12 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float *s = student + i * n, *t = teacher + i * n;
      float* gradient = out + i * n;
      const double inverse_s = inverse_sum(s);
      const float of_s = float(inverse_s / 2), of_t = float(inverse_sum(t) / 2);
      Vec value{}, along{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const Vec p = (get(s + j, count) + 1.0f) * of_s, q = (get(t + j, count) + 1.0f) * of_t;
        const Vec ratio = q / (p + kEps);
        value += keep(first_lanes(count), q * log((q + kEps) / (p + kEps)));
        along += keep(first_lanes(count), ratio * p);
        put(gradient + j, ratio, count);
      });
      values[i] = sum(value) * share;
      const float mean = float(sum(along)), factor = float(share * inverse_s / 2);
      for_vectors(0, n,
                  [&](int64_t j, auto count) { put(gradient + j, (mean - get(gradient + j, count)) * factor, count); });
    }
  });
  loss.mutable_data<float>()[0] = float(total_of(values, n));
}

// --- RKD -----------------------------------------------------------------------------------------------------------

namespace {

// Squared distances of row i from inner products: y[j] = |x_i - x_j|^2, 0 for rows that differ by rounding only.
Vec square_distances(const float* gram, const float* squares, int64_t i, int64_t j, int64_t n, auto count) {
  const Vec lengths = get(squares + j, count) + squares[i], square = lengths - 2.0f * get(gram + i * n + j, count);
  return keep(less(lengths * kSmallestSquareShare, square), square);
}

void take_squares(const float* gram, int64_t n, float* squares) {
  for (int64_t i = 0; i < n; ++i) squares[i] = gram[i * n + i];
}

// The relations of the student's or the teacher's rows: inner products (N,N), 1 / distance (N,N; 0 where rows are
// equal), mean distance.
struct Relations {
  const float* gram;
  float* inverses;
  double* sums;  // (N): sum of each row's distances
  double mean;

  Vec distances(int64_t at, auto count) const {
    const Vec inverse = get(inverses + at, count);
    const LaneBits apart = less(Vec{}, inverse);
    return at_least(broadcast(kShortestDistance), keep(apart, 1.0f / select(apart, inverse, broadcast(1))));
  }
};

void measure(Relations& of, float* squares, int64_t n) {
  take_squares(of.gram, n, squares);
  parallel_ranges(n, 1, 8 * n, [=, &of](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* inverses = of.inverses + i * n;
      for_vectors(0, n, [&](int64_t j, auto count) {
        put(inverses + j, inverse(sqrt(square_distances(of.gram, squares, i, j, n, count))), count);
      });
      inverses[i] = 0;
      Vec sums{};
      for_vectors(0, n,
                  [&](int64_t j, auto count) { sums += keep(first_lanes(count), of.distances(i * n + j, count)); });
      of.sums[i] = sum(sums) - double(kShortestDistance);  // without the row's clamped distance from itself
    }
  });
  of.mean = n > 1 ? total_of(of.sums, n) / double(n * (n - 1)) : 1;
}

// The angles at each corner j between rows i … i + kRows - 1 and all rows k. Adds the gradient of the inner product
// (i, k) to products[row][k]; through[row * n + j] becomes that of the product (i, j), and turns[row * n + j] that of
// the squared distance (i, j). Returns the sum of the losses.
template <int kRows>
double angles(const Relations& s, const Relations& t, int64_t i, int64_t n, float factor, float* products,
              float* through, float* turns) {
  double total = 0;
  for (int r = 0; r < kRows; ++r) std::fill_n(products + r * n, n, 0.0f);
  for (int64_t j = 0; j < n; ++j) {
    const float *at_s = s.gram + j * n, *at_t = t.gram + j * n, *inverse_s = s.inverses + j * n,
                *inverse_t = t.inverses + j * n;
    float length_s[kRows], length_t[kRows], shift_s[kRows], shift_t[kRows];
    for (int r = 0; r < kRows; ++r) {
      length_s[r] = inverse_s[i + r];
      length_t[r] = inverse_t[i + r];
      shift_s[r] = at_s[j] - at_s[i + r];
      shift_t[r] = at_t[j] - at_t[i + r];
    }
    Vec values{}, of_product[kRows] = {}, of_cosine[kRows] = {};
    for_vectors(0, n, [&](int64_t k, auto count) {
      const Vec corner_s = get(at_s + k, count), corner_t = get(at_t + k, count);
      const Vec by_s = get(inverse_s + k, count), by_t = get(inverse_t + k, count);
      for (int r = 0; r < kRows; ++r) {
        const Vec cosine = ((get(s.gram + (i + r) * n + k, count) - corner_s) + shift_s[r]) * (by_s * length_s[r]);
        const Vec target = ((get(t.gram + (i + r) * n + k, count) - corner_t) + shift_t[r]) * (by_t * length_t[r]);
        const Vec difference = cosine - target, slope = clamped_to_one(difference);
        values += slope * (difference - 0.5f * slope);
        const Vec weighted = slope * by_s;
        of_product[r] += weighted;
        of_cosine[r] += slope * cosine;
        float* product = products + r * n + k;
        put(product, get(product, count) + weighted * length_s[r], count);
      }
    });
    total += sum(values);
    for (int r = 0; r < kRows; ++r) {
      through[r * n + j] = -factor * float(sum(of_product[r])) * length_s[r];
      turns[r * n + j] = -factor * float(sum(of_cosine[r])) * (length_s[r] * length_s[r]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for_vectors(0, n, [&](int64_t k, auto count) {
      put(products + r * n + k, get(products + r * n + k, count) * factor, count);
    });
  return total;
}

}  // namespace

// Corner j of the angle between rows i and k: w = the slope of its loss. The product (i, k) gets w / (d_ij d_kj); (i,
// j) and (j, k) get the negative of that, (j, j) the same; the squared distance (i, j) gets -w cos / (2 d_ij^2), and
// (k, j) likewise: all are sums over k for a pair (i, j), but the first, which is a sum over j for a pair (i, k). So
// each thread has rows i of its own and no matrix of its own.
void rkd_loss(Context& ctx, const RkdParams& p, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& terms,
              Tensor& dgram) {
  const int64_t n = student_gram.shape()[0], all = n * n;
  const int parts = threads_for(n * all);
  Scratch scratch(ctx, 4 * Scratch::size_of<float>(all) + Scratch::size_of<float>(n) + 5 * Scratch::size_of<double>(n));
  Relations s{student_gram.data<float>(), scratch.take<float>(all), scratch.take<double>(n), 0};
  Relations t{teacher_gram.data<float>(), scratch.take<float>(all), scratch.take<double>(n), 0};
  float *through = scratch.take<float>(all), *squares = scratch.take<float>(all), *own = scratch.take<float>(n);
  double *distances = scratch.take<double>(n), *angle_sums = scratch.take<double>(n);
  double* diagonal = scratch.take<double>(n);
  measure(s, own, n);
  measure(t, own, n);
  float* out = dgram.mutable_data<float>();

  const double share = 1 / double(all), angle_share = share / double(n);
  const float scale_s = float(1 / s.mean), scale_t = float(1 / t.mean);
  const auto difference = [=, &s, &t](int64_t at, auto count) {
    return s.distances(at, count) * scale_s - t.distances(at, count) * scale_t;
  };
  // The gradient that each distance of the student gets through their mean.
  double* along = diagonal;
  parallel_ranges(n, 1, 16 * n, [=, &s](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Vec values{}, products{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const Vec x = keep(first_lanes(count), difference(i * n + j, count)), slope = clamped_to_one(x);
        values += slope * (x - 0.5f * slope);
        products += slope * (s.distances(i * n + j, count) * scale_s);
      });
      distances[i] = sum(values);
      along[i] = sum(products);
      // The distance of a row from itself does not count in the mean.
      const float itself = kShortestDistance * (scale_s - scale_t);
      distances[i] -= double(itself) * double(itself) / 2;
      along[i] -= double(itself) * double(kShortestDistance * scale_s);
    }
  });
  const float of_mean = n > 1 ? float(total_of(along, n) / double(n * (n - 1))) : 0;
  const float of_distance = float(double(p.distance_weight) * share / s.mean / 2);

  parallel_parts(n, 4, parts, [=, &s, &t](int, int64_t begin, int64_t end) {
    const float factor = float(double(p.angle_weight) * angle_share);
    const auto rows = [&]<int kRows>(int64_t i) {
      angle_sums[i] = angles<kRows>(s, t, i, n, factor, out + i * n, through + i * n, squares + i * n);
      for (int64_t r = i; r < i + kRows; ++r) {
        if (r > i) angle_sums[r] = 0;
        Vec sums{};
        for_vectors(0, n, [&](int64_t j, auto count) {
          const int64_t at = r * n + j;
          const Vec inverses = get(s.inverses + at, count), slope = clamped_to_one(difference(at, count));
          // Where a distance is clamped it is a constant.
          const LaneBits free = less(inverses, broadcast(1 / kShortestDistance));
          const Vec of_square = get(squares + at, count) + keep(free, (slope - of_mean) * of_distance * inverses);
          sums += of_square;
          const Vec of_product = get(through + at, count) - of_square;
          put(through + at, of_product, count);
          put(out + at, get(out + at, count) + 2.0f * of_product, count);
        });
        diagonal[r] = sum(sums);
      }
    };
    int64_t i = begin;
    for (; i + 4 <= end; i += 4) rows.template operator()<4>(i);
    for (; i < end; ++i) rows.template operator()<1>(i);
  });
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) diagonal[j] -= double(through[i * n + j]);
  for (int64_t i = 0; i < n; ++i) out[i * (n + 1)] += float(diagonal[i] - 2 * double(through[i * (n + 1)]));
  const double distance = total_of(distances, n) * share, angle = total_of(angle_sums, n) * angle_share;
  float* values = terms.mutable_data<float>();
  values[0] = float(double(p.distance_weight) * distance + double(p.angle_weight) * angle);
  values[1] = float(distance);
  values[2] = float(angle);
}

// --- EGA -----------------------------------------------------------------------------------------------------------

void ega_loss(Context& ctx, const EgaParams& p, const Tensor& student_edges, const Tensor& teacher_edges,
              const Tensor& nodes, Tensor& terms, Tensor& dedges, Tensor& dnodes) {
  const int64_t n = nodes.shape()[0];
  const float *student = student_edges.data<float>(), *teacher = teacher_edges.data<float>();
  const float* between = nodes.data<float>();
  float *of_edges = dedges.mutable_data<float>(), *of_nodes = dnodes.mutable_data<float>();
  Scratch scratch(ctx, 2 * Scratch::size_of<double>(n));
  double *edge_sums = scratch.take<double>(n), *node_sums = scratch.take<double>(n);
  // First the differences, then, in place, the differences divided by their norms.
  parallel_ranges(n, 1, 20 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for_vectors(i * n, (i + 1) * n, [&](int64_t at, auto count) {
        put(of_edges + at, get(student + at, count) - get(teacher + at, count), count);
        put(of_nodes + at, get(between + at, count), count);
      });
      of_nodes[i * (n + 1)] -= 1;
      edge_sums[i] = sum_of_squares(of_edges + i * n, n);
      node_sums[i] = sum_of_squares(of_nodes + i * n, n);
    }
  });
  const double edge = std::sqrt(total_of(edge_sums, n)), node = std::sqrt(total_of(node_sums, n));
  const float by_edge = edge > 0 ? float(double(p.edge_weight) / edge) : 0;
  const float by_node = node > 0 ? float(double(p.node_weight) / node) : 0;
  parallel_ranges(n * n, kLanes, 16, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t at, auto count) {
      put(of_edges + at, get(of_edges + at, count) * by_edge, count);
      put(of_nodes + at, get(of_nodes + at, count) * by_node, count);
    });
  });
  float* out = terms.mutable_data<float>();
  out[0] = float(double(p.node_weight) * node + double(p.edge_weight) * edge);
  out[1] = float(node);
  out[2] = float(edge);
}

// --- IRG -----------------------------------------------------------------------------------------------------------

void irg_loss(Context& ctx, const Tensor& student_gram, const Tensor& teacher_gram, Tensor& loss, Tensor& dgram) {
  const int64_t n = student_gram.shape()[0];
  const float *student = student_gram.data<float>(), *teacher = teacher_gram.data<float>();
  float* out = dgram.mutable_data<float>();
  Scratch scratch(ctx, 4 * Scratch::size_of<float>(n) + 3 * Scratch::size_of<double>(n));
  float *squares_s = scratch.take<float>(n), *squares_t = scratch.take<float>(n);
  float *most_s = scratch.take<float>(n), *most_t = scratch.take<float>(n);
  double *values = scratch.take<double>(n), *along = scratch.take<double>(n), *counts = scratch.take<double>(n);
  take_squares(student, n, squares_s);
  take_squares(teacher, n, squares_t);
  // The squared distance of rows i and j; 0 of a row from itself.
  const auto distance = [n](const float* gram, const float* squares, int64_t i, int64_t j, auto count) {
    return square_distances(gram, squares, i, j, n, count);
  };
  parallel_ranges(n, 1, 8 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Vec greatest_s{}, greatest_t{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const LaneBits own = first_lanes(count);
        greatest_s = at_least(greatest_s, keep(own, distance(student, squares_s, i, j, count)));
        greatest_t = at_least(greatest_t, keep(own, distance(teacher, squares_t, i, j, count)));
      });
      most_s[i] = max(greatest_s);
      most_t[i] = max(greatest_t);
    }
  });
  const float top_s = *std::max_element(most_s, most_s + n), top_t = *std::max_element(most_t, most_t + n);
  const float over_s = top_s > 0 ? 1 / top_s : 0, over_t = top_t > 0 ? 1 / top_t : 0;
  const double share = 1 / double(n * n);
  parallel_ranges(n, 1, 12 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Vec squares{}, products{}, greatest{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const LaneBits own = first_lanes(count);
        const Vec raw = distance(student, squares_s, i, j, count), s = raw * over_s;
        const Vec difference = s - distance(teacher, squares_t, i, j, count) * over_t;
        squares += keep(own, difference * difference);
        products += keep(own, difference * s);
        greatest += keep(LaneBits(own & equal(raw, broadcast(top_s))), broadcast(1));
        put(out + i * n + j, difference, count);
      });
      values[i] = sum(squares) * share;
      along[i] = 2 * sum(products) * share;
      counts[i] = sum(greatest);
    }
  });
  loss.mutable_data<float>()[0] = float(total_of(values, n));
  // The greatest distance is in the denominator of all. Its gradient is shared by all pairs that have this distance.
  const float of_most = float(total_of(along, n) / total_of(counts, n));
  const float factor = float(2 * share);
  parallel_ranges(n, 1, 12 * n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Vec sums{};
      for_vectors(0, n, [&](int64_t j, auto count) {
        const Vec raw = distance(student, squares_s, i, j, count);
        const Vec slope = get(out + i * n + j, count) * factor - keep(equal(raw, broadcast(top_s)), broadcast(of_most));
        const Vec by = keep(LaneBits(first_lanes(count) & less(Vec{}, raw)), slope * over_s);
        sums += by;
        put(out + i * n + j, -2.0f * by, count);
      });
      values[i] = sum(sums);
    }
  });
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) values[j] -= double(out[i * n + j]) / 2;
  for (int64_t i = 0; i < n; ++i) out[i * (n + 1)] = float(values[i]);
}

void irg_path_loss(Context& ctx, const Tensor& student, const Tensor& teacher, Tensor& loss, Tensor& dstudent) {
  const int64_t n = student.shape()[0], width = student.numel() / n, teacher_width = teacher.numel() / n;
  const float *s = student.data<float>(), *t = teacher.data<float>();
  Scratch scratch(ctx, 2 * Scratch::size_of<double>(n));
  double *of_s = scratch.take<double>(n), *of_t = scratch.take<double>(n);
  parallel_ranges(n, 1, 4 * (width + teacher_width), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      of_s[i] = sum_of_squares(s + i * width, width);
      of_t[i] = sum_of_squares(t + i * teacher_width, teacher_width);
    }
  });
  const double most_s = *std::max_element(of_s, of_s + n), most_t = *std::max_element(of_t, of_t + n);
  const double over_s = most_s > 0 ? 1 / most_s : 0, over_t = most_t > 0 ? 1 / most_t : 0;
  double total = 0, along = 0, count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double difference = of_s[i] * over_s - of_t[i] * over_t;
    total += difference * difference / double(n);
    along += 2 * difference * of_s[i] * over_s / double(n);
    count += of_s[i] == most_s;
  }
  loss.mutable_data<float>()[0] = float(total);
  float* out = dstudent.mutable_data<float>();
  parallel_ranges(n, 1, 8 * width, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double slope =
          2 * (of_s[i] * over_s - of_t[i] * over_t) / double(n) - (of_s[i] == most_s ? along / count : 0);
      const float factor = float(2 * slope * over_s);
      for_vectors(i * width, (i + 1) * width, [&](int64_t at, auto m) { put(out + at, get(s + at, m) * factor, m); });
    }
  });
}

}  // namespace coss::cpu
