// Eigenvalues of a symmetric matrix of a few hundred rows, for the figures of health.
#pragma once
#include <cstdint>
#include <vector>

namespace coss {

// Returns the eigenvalues of `matrix` (n,n) in ascending order; the matrix is overwritten. Householder's reduction to
// three diagonals, then implicit QR steps with Wilkinson's shift: 4/3 n^3 operations, errors of about n * 1e-16 of the
// largest. Throws Error if the values are not finite.
std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int64_t n);

}  // namespace coss
