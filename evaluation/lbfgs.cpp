// Two-loop recursion with Armijo backtracking. A pair is kept only if its curvature is positive.
#include "evaluation/lbfgs.h"

#include <cmath>
#include <deque>
#include <numeric>

namespace coss {
namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

void add_scaled(double factor, const Vector& x, Vector& y) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

struct Pair {
  Vector s, y;  // differences of positions and of gradients
  double rho;   // 1 / (s . y)
};

// Returns -H * gradient, where H is the inverse Hessian that the pairs describe.
Vector direction(const Vector& gradient, const std::deque<Pair>& pairs) {
  Vector q = gradient;
  std::vector<double> alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].rho * dot(pairs[i].s, q);
    add_scaled(-alpha[i], pairs[i].y, q);
  }
  const double scale = pairs.empty() ? 1 / std::max(1.0, std::sqrt(dot(q, q)))
                                     : 1 / (pairs.back().rho * dot(pairs.back().y, pairs.back().y));
  for (double& value : q) value *= scale;
  for (size_t i = 0; i < pairs.size(); ++i) add_scaled(alpha[i] - pairs[i].rho * dot(pairs[i].y, q), pairs[i].s, q);
  for (double& value : q) value = -value;
  return q;
}

}  // namespace

double minimize(const std::function<double(const Vector&, Vector&)>& f, Vector& x, const LbfgsOptions& options) {
  Vector gradient(x.size()), next_gradient(x.size());
  double value = f(x, gradient);
  std::deque<Pair> pairs;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    double largest = 0;
    for (const double g : gradient) largest = std::max(largest, std::abs(g));
    if (!(largest > options.tolerance)) break;

    const Vector step = direction(gradient, pairs);
    const double slope = dot(gradient, step);
    if (!(slope < 0)) {  // rounding broke the curvature estimate: start it anew
      if (pairs.empty()) break;
      pairs.clear();
      continue;
    }
    Vector next = x;
    double next_value = 0, length = 1;
    bool found = false;
    for (int trial = 0; trial < 30 && !found; ++trial, length /= 2) {
      next = x;
      add_scaled(length, step, next);
      next_value = f(next, next_gradient);
      found = next_value <= value + 1e-4 * length * slope;
    }
    if (!found) break;

    Pair pair{next, next_gradient, 0};
    add_scaled(-1, x, pair.s);
    add_scaled(-1, gradient, pair.y);
    const double curvature = dot(pair.s, pair.y);
    if (curvature > 1e-12 * dot(pair.y, pair.y)) {
      pair.rho = 1 / curvature;
      pairs.push_back(std::move(pair));
      if (int(pairs.size()) > options.memory) pairs.pop_front();
    }
    x = std::move(next);
    gradient = next_gradient;
    value = next_value;
  }
  return value;
}

}  // namespace coss
