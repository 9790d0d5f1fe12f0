// cuBLASLt, opened at run time: one handle, and for every kind of matrix product so far its descriptors and the
// algorithm that the library's heuristic chose.
#pragma once
#include <cublasLt.h>

#include <array>
#include <memory>
#include <string>
#include <unordered_map>

namespace coss::cuda {

class State;

// "13.1.0", or what is missing. Throws nothing.
std::string blas_version();
// Throws Error in one line when the library is missing.
void open_blas();

// A product y = op(a) op(b) of row-major matrices: all that decides how it is computed. Bytes of alignment are powers
// of two up to 256.
struct Product {
  int64_t rows = 0, columns = 0, depth = 0;
  bool transpose_a = false, transpose_b = false;
  cudaDataType_t input = CUDA_R_32F, output = CUDA_R_32F;
  bool tf32 = false;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int64_t align_a = 0, align_b = 0, align_y = 0;

  std::array<int64_t, 11> key() const {
    return {rows,           columns,         depth,  int64_t(transpose_a) * 2 + transpose_b,
            int64_t(input), int64_t(output), tf32,   int64_t(epilogue),
            align_a,        align_b,         align_y};
  }
};

class Blas {
 public:
  static constexpr size_t kWorkspace = size_t(32) << 20;

  explicit Blas(const State& state);  // throws Error where the library is missing
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // False where the library has no algorithm for it. The answer is kept; the heuristic works on the host alone.
  bool supports(const Product& product);
  // y = epilogue(op(a) op(b) + beta * y, bias), on a product that is supported. workspace: kWorkspace bytes, aligned to
  // 256; bias: as many f32 as columns, aligned to 16, for the epilogues that take one.
  void run(const Product& product, const void* a, const void* b, const float* bias, float beta, void* y,
           void* workspace);

 private:
  struct Plan;
  struct Hash {
    size_t operator()(const std::array<int64_t, 11>& key) const;
  };
  Plan& plan(const Product& product);

  cublasLtHandle_t handle_ = nullptr;
  cudaStream_t stream_;
  std::unordered_map<std::array<int64_t, 11>, std::unique_ptr<Plan>, Hash> plans_;
};

}  // namespace coss::cuda
