// L-BFGS (Liu & Nocedal, 1989) with a backtracking line search, for smooth convex functions of a few million numbers.
#pragma once
#include <functional>
#include <vector>

namespace coss {

struct LbfgsOptions {
  int iterations = 200;
  int memory = 10;          // pairs of differences that stand for the Hessian
  double tolerance = 1e-5;  // stop when the largest gradient entry is below it
};

// Minimizes f from x and leaves the minimum there. f returns its value at x and fills the gradient. Returns the
// minimum.
double minimize(const std::function<double(const std::vector<double>& x, std::vector<double>& gradient)>& f,
                std::vector<double>& x, const LbfgsOptions& options = {});

}  // namespace coss
