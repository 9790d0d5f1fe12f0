// Both halves read rows only: in a symmetric matrix these are the columns too.
#include "training/eigenvalues.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/check.h"

namespace coss {
namespace {

// Gives the diagonal (n) and the one beside it (n - 1) of a tridiagonal matrix that is similar to `a`, of which the
// lower triangle is read.
void tridiagonalize(std::vector<double>& a, int64_t n, std::vector<double>& diagonal, std::vector<double>& beside) {
  std::vector<double> mirror(static_cast<size_t>(n)), product(mirror);
  // The last row comes first, so that what remains is a leading square.
  for (int64_t last = n - 1; last > 0; --last) {
    double* row = a.data() + last * n;
    diagonal[size_t(last)] = row[last];
    double square = 0;
    for (int64_t j = 0; j < last; ++j) square += row[j] * row[j];
    const double length = std::sqrt(square), pivot = row[last - 1];
    // The reflection turns row[0..last) into (0, …, 0, target).
    const double target = pivot > 0 ? -length : length;
    beside[size_t(last - 1)] = target;
    const double half = square - pivot * target;  // |mirror|^2 / 2
    if (half <= 0) continue;
    std::copy(row, row + last, mirror.begin());
    mirror[size_t(last - 1)] -= target;

    std::fill(product.begin(), product.begin() + last, 0.0);
    for (int64_t i = 0; i < last; ++i) {
      const double* below = a.data() + i * n;
      const double factor = mirror[size_t(i)];
      double sum = below[i] * factor;
      for (int64_t j = 0; j < i; ++j) {
        sum += below[j] * mirror[size_t(j)];
        product[size_t(j)] += below[j] * factor;
      }
      product[size_t(i)] += sum;
    }
    double inner = 0;
    for (int64_t j = 0; j < last; ++j) {
      product[size_t(j)] /= half;
      inner += product[size_t(j)] * mirror[size_t(j)];
    }
    for (int64_t j = 0; j < last; ++j) product[size_t(j)] -= inner / (2 * half) * mirror[size_t(j)];
    for (int64_t i = 0; i < last; ++i) {
      double* below = a.data() + i * n;
      const double m = mirror[size_t(i)], p = product[size_t(i)];
      for (int64_t j = 0; j <= i; ++j) below[j] -= m * product[size_t(j)] + p * mirror[size_t(j)];
    }
  }
  diagonal[0] = a[0];
}

// One QR step on rows low..high, shifted by the eigenvalue of the last two rows that is nearer to the last.
void qr_step(std::vector<double>& diagonal, std::vector<double>& beside, size_t low, size_t high) {
  const double corner = beside[high - 1], half = (diagonal[high - 1] - diagonal[high]) / 2;
  const double root = std::hypot(half, corner);
  double x = diagonal[low] - diagonal[high] + corner * corner / (half + (half < 0 ? -root : root));
  double z = beside[low];
  for (size_t k = low; k < high; ++k) {
    const double r = std::hypot(x, z), c = r > 0 ? x / r : 1, s = r > 0 ? z / r : 0;
    if (k > low) beside[k - 1] = r;
    const double a = diagonal[k], b = beside[k], d = diagonal[k + 1];
    diagonal[k] = c * c * a + 2 * c * s * b + s * s * d;
    diagonal[k + 1] = s * s * a - 2 * c * s * b + c * c * d;
    beside[k] = c * s * (d - a) + (c * c - s * s) * b;
    if (k + 1 < high) {
      x = beside[k];
      z = s * beside[k + 1];
      beside[k + 1] *= c;
    }
  }
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int64_t n) {
  COSS_ASSERT(n > 0 && int64_t(matrix.size()) == n * n);
  std::vector<double> diagonal(static_cast<size_t>(n)), beside(static_cast<size_t>(n));
  tridiagonalize(matrix, n, diagonal, beside);
  double size = 0;
  for (size_t i = 0; i < size_t(n); ++i) size = std::max(size, std::abs(diagonal[i]) + std::abs(beside[i]));
  const double nothing = std::numeric_limits<double>::epsilon() * size;

  // Usually two or three steps give one eigenvalue. A matrix that needs far more has values that are not finite.
  int64_t steps_left = 50 * n;
  for (size_t high = size_t(n) - 1; high > 0;) {
    if (std::abs(beside[high - 1]) <= nothing) {
      --high;
      continue;
    }
    COSS_CHECK(steps_left-- > 0, "the eigenvalues of a matrix do not converge: its values are not finite");
    size_t low = high - 1;
    while (low > 0 && std::abs(beside[low - 1]) > nothing) --low;
    qr_step(diagonal, beside, low, high);
  }
  std::sort(diagonal.begin(), diagonal.end());
  return diagonal;
}

}  // namespace coss
