// Opening cuBLASLt and keeping its plans. The library is not linked, so that a program with the CUDA backend also runs
// where there is none.
#include "engine/cuda/library/blas.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstdio>

#include "engine/cuda/library/state.h"

namespace coss::cuda {
namespace {

struct Functions {
#define COSS_BLAS_FUNCTIONS(F)            \
  F(cublasLtCreate)                       \
  F(cublasLtDestroy)                      \
  F(cublasLtGetVersion)                   \
  F(cublasLtGetStatusName)                \
  F(cublasLtMatmul)                       \
  F(cublasLtMatmulAlgoGetHeuristic)       \
  F(cublasLtMatmulDescCreate)             \
  F(cublasLtMatmulDescDestroy)            \
  F(cublasLtMatmulDescSetAttribute)       \
  F(cublasLtMatmulPreferenceCreate)       \
  F(cublasLtMatmulPreferenceDestroy)      \
  F(cublasLtMatmulPreferenceSetAttribute) \
  F(cublasLtMatrixLayoutCreate)           \
  F(cublasLtMatrixLayoutDestroy)
#define COSS_DECLARE(name) decltype(&::name) name = nullptr;
  COSS_BLAS_FUNCTIONS(COSS_DECLARE)
#undef COSS_DECLARE
};

Functions open_library() {
  const std::string name = "libcublasLt.so." + std::to_string(CUDART_VERSION / 1000), folder = COSS_CUBLAS_DIR;
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library && !folder.empty()) library = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  COSS_CHECK(library, name + " cannot be opened: install cuBLAS of CUDA " + std::to_string(CUDART_VERSION / 1000) +
                          " or put its folder in LD_LIBRARY_PATH");
  Functions functions;
#define COSS_FETCH(function)                                                               \
  functions.function = reinterpret_cast<decltype(&::function)>(dlsym(library, #function)); \
  COSS_CHECK(functions.function, name + " has no " #function ": install cuBLAS of this version completely");
  COSS_BLAS_FUNCTIONS(COSS_FETCH)
#undef COSS_FETCH
  return functions;
}

// The library is opened once and never closed. If it is missing, the next call looks for it again.
const Functions& lt() {
  static const Functions functions = open_library();
  return functions;
}

void check_blas(cublasStatus_t status, const char* what, const char* file, int line) {
  COSS_CHECK(status == CUBLAS_STATUS_SUCCESS, std::string("cuBLAS: ") + what + " failed with " +
                                                  lt().cublasLtGetStatusName(status) + " (" + file + ":" +
                                                  std::to_string(line) + ")");
}
#define COSS_BLAS_CHECK(call) check_blas(lt().call, #call, __FILE__, __LINE__)

// Owners of the library's descriptors.
struct Destroy {
  void operator()(cublasLtMatmulDescOpaque_t* p) const { lt().cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayoutOpaque_t* p) const { lt().cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreferenceOpaque_t* p) const { lt().cublasLtMatmulPreferenceDestroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;

// A column-major matrix without gaps.
Owned<cublasLtMatrixLayoutOpaque_t> layout(cudaDataType_t type, int64_t height, int64_t width) {
  cublasLtMatrixLayout_t made = nullptr;
  COSS_BLAS_CHECK(cublasLtMatrixLayoutCreate(&made, type, uint64_t(height), uint64_t(width), height));
  return Owned<cublasLtMatrixLayoutOpaque_t>(made);
}

template <class T>
void set(cublasLtMatmulDesc_t descriptor, cublasLtMatmulDescAttributes_t attribute, T value) {
  COSS_BLAS_CHECK(cublasLtMatmulDescSetAttribute(descriptor, attribute, &value, sizeof(value)));
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  COSS_BLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
}

}  // namespace

struct Blas::Plan {
  Owned<cublasLtMatmulDescOpaque_t> operation;
  Owned<cublasLtMatrixLayoutOpaque_t> first, second, result;
  cublasLtMatmulAlgo_t algorithm{};
  bool supported = false;
};

std::string blas_version() {
  try {
    const size_t version = lt().cublasLtGetVersion();
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  } catch (const Error& error) {
    return std::string("missing: ") + error.what();
  }
}

void open_blas() { lt(); }

Blas::Blas(const State& state) : stream_(state.stream()) { COSS_BLAS_CHECK(cublasLtCreate(&handle_)); }

Blas::~Blas() {
  plans_.clear();
  const cublasStatus_t status = lt().cublasLtDestroy(handle_);
  if (status != CUBLAS_STATUS_SUCCESS)
    std::fprintf(stderr, "cuBLAS: cublasLtDestroy failed with %s\n", lt().cublasLtGetStatusName(status));
}

size_t Blas::Hash::operator()(const std::array<int64_t, 11>& key) const {
  uint64_t hash = 0;
  for (int64_t part : key) hash = (hash ^ uint64_t(part)) * 0x9E3779B97F4A7C15ull + (hash >> 29);
  return size_t(hash ^ hash >> 32);
}

// The library is column-major and sees the transpose of each row-major matrix. So it computes y^T = op(b)^T op(a)^T: b
// is its first factor, and the flags stay as they are.
Blas::Plan& Blas::plan(const Product& p) {
  std::unique_ptr<Plan>& known = plans_[p.key()];
  if (known) return *known;
  auto fresh = std::make_unique<Plan>();
  cublasLtMatmulDesc_t operation = nullptr;
  const cublasComputeType_t compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  COSS_BLAS_CHECK(cublasLtMatmulDescCreate(&operation, compute, CUDA_R_32F));
  fresh->operation.reset(operation);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
  // A sample address with the alignment of the later ones: the heuristic may look at it, but nothing reads there.
  if (p.epilogue & CUBLASLT_EPILOGUE_BIAS)
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(uintptr_t(256)));
  fresh->first = p.transpose_b ? layout(p.input, p.depth, p.columns) : layout(p.input, p.columns, p.depth);
  fresh->second = p.transpose_a ? layout(p.input, p.rows, p.depth) : layout(p.input, p.depth, p.rows);
  fresh->result = layout(p.output, p.columns, p.rows);

  cublasLtMatmulPreference_t preference = nullptr;
  COSS_BLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  const Owned<cublasLtMatmulPreferenceOpaque_t> owner(preference);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kWorkspace));
  // If a sum is split into parts, a separate step adds them in f32 and in a fixed order.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t(p.align_b));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t(p.align_a));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, uint32_t(p.align_y));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, uint32_t(p.align_y));
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status =
      lt().cublasLtMatmulAlgoGetHeuristic(handle_, operation, fresh->first.get(), fresh->second.get(),
                                          fresh->result.get(), fresh->result.get(), preference, 1, &result, &found);
  // "Not supported" and "invalid value" are the library's ways of saying that this combination does not exist.
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
    check_blas(status, "cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__);
  fresh->supported = status == CUBLAS_STATUS_SUCCESS && found > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  fresh->algorithm = result.algo;
  known = std::move(fresh);
  return *known;
}

bool Blas::supports(const Product& product) { return plan(product).supported; }

void Blas::run(const Product& product, const void* a, const void* b, const float* bias, float beta, void* y,
               void* workspace) {
  Plan& p = plan(product);
  COSS_ASSERT(p.supported);
  if (bias) set(p.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  const float alpha = 1;
  COSS_BLAS_CHECK(cublasLtMatmul(handle_, p.operation.get(), &alpha, b, p.first.get(), a, p.second.get(), &beta, y,
                                 p.result.get(), y, p.result.get(), &p.algorithm, workspace, kWorkspace, stream_));
}

}  // namespace coss::cuda
