// Eigenvalues of a symmetric matrix, for figures of a few hundred rows.
#pragma once
#include <cstdint>
#include <vector>

namespace coss {

// In ascending order; `matrix` (n,n) is symmetric and taken as scratch. Householder's reduction to three diagonals,
// then implicit QR steps with Wilkinson's shift: 4/3 n^3 operations, errors of about n * 1e-16 of the largest.
std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int64_t n);

}  // namespace coss
