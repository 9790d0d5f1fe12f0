// Multi-head attention of the reference backend: one head at a time, with the whole matrix of its probabilities.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// One head of one image, and the positions of its elements.
struct Head {
  int64_t tokens, queries, width, channels;  // width of all heads, channels of this one
  int64_t image, head, heads;

  int64_t qkv(int part, int64_t token, int64_t c) const {
    return ((image * tokens + token) * 3 + part) * width + head * channels + c;
  }
  int64_t y(int64_t query, int64_t c) const { return (image * queries + query) * width + head * channels + c; }
  int64_t lse(int64_t query) const { return (image * heads + head) * queries + query; }
  double scale() const { return 1 / std::sqrt(double(channels)); }

  double score(const Tensor& t, int64_t query, int64_t key) const {
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c) sum += in(t)[qkv(0, query, c)] * in(t)[qkv(1, key, c)];
    return sum * scale();
  }
};

template <class Body>
void for_heads(const AttentionParams& p, const Tensor& qkv, const Tensor& y, Body&& body) {
  const int64_t width = y.shape()[2];
  for (int64_t image = 0; image < qkv.shape()[0]; ++image)
    for (int64_t head = 0; head < p.heads; ++head)
      body(Head{qkv.shape()[1], y.shape()[1], width, width / p.heads, image, head, p.heads});
}

}  // namespace

void attention_forward(Context&, const AttentionParams& p, const Tensor& qkv, Tensor& y, Tensor& lse) {
  for_heads(p, qkv, y, [&](const Head& h) {
    for (int64_t i = 0; i < h.queries; ++i) {
      std::vector<double> scores;
      for (int64_t j = 0; j < h.tokens; ++j) scores.push_back(h.score(qkv, i, j));
      const double greatest = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (double& score : scores) sum += std::exp(score - greatest);
      const double log_sum = greatest + std::log(sum);
      out(lse)[h.lse(i)] = log_sum;
      for (int64_t c = 0; c < h.channels; ++c) {
        double total = 0;
        for (int64_t j = 0; j < h.tokens; ++j) total += std::exp(scores[size_t(j)] - log_sum) * in(qkv)[h.qkv(2, j, c)];
        out(y)[h.y(i, c)] = total;
      }
    }
  });
}

void attention_backward(Context&, const AttentionParams& p, const Tensor& qkv, const Tensor& y, const Tensor& lse,
                        const Tensor& dy, Tensor& dqkv) {
  std::fill_n(out(dqkv), dqkv.numel(), 0.0);
  for_heads(p, qkv, y, [&](const Head& h) {
    for (int64_t i = 0; i < h.queries; ++i) {
      double delta = 0;
      for (int64_t c = 0; c < h.channels; ++c) delta += in(dy)[h.y(i, c)] * in(y)[h.y(i, c)];
      for (int64_t j = 0; j < h.tokens; ++j) {
        const double probability = std::exp(h.score(qkv, i, j) - in(lse)[h.lse(i)]);
        double dp = 0;
        for (int64_t c = 0; c < h.channels; ++c) {
          dp += in(dy)[h.y(i, c)] * in(qkv)[h.qkv(2, j, c)];
          out(dqkv)[h.qkv(2, j, c)] += probability * in(dy)[h.y(i, c)];
        }
        const double ds = probability * (dp - delta) * h.scale();
        for (int64_t c = 0; c < h.channels; ++c) {
          out(dqkv)[h.qkv(0, i, c)] += ds * in(qkv)[h.qkv(1, j, c)];
          out(dqkv)[h.qkv(1, j, c)] += ds * in(qkv)[h.qkv(0, i, c)];
        }
      }
    }
  });
}

}  // namespace coss::reference
