// Finds the GPU, makes its streams, and says why it cannot be used if it cannot.
#include "engine/cuda/library/state.h"

#include <cstdio>

#include "engine/cuda/library/blas.h"
#include "engine/cuda/library/cudnn.h"
#include "engine/cuda/library/staging.h"

namespace coss::cuda {
namespace {

constexpr int kOldestCapability = 80;  // Ampere: bf16 matrix instructions

std::string version_text(int version) {  // CUDA's 13010 is 13.1
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Why no GPU can be used (there is none, or a library is missing); empty when one can.
std::string find_problem() {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // clears the error of the query, which the next launch would report
  if (driver == 0) return "no NVIDIA driver is installed";
  if (status == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: it supports CUDA " + version_text(driver) + ", this program needs " +
           version_text(runtime) + "; update the driver";
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) return "no NVIDIA GPU was found";
  if (status != cudaSuccess) return std::string("the NVIDIA driver does not answer: ") + cudaGetErrorString(status);
  cudaDeviceProp device{};
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) return "the GPU does not answer";
  if (device.major * 10 + device.minor < kOldestCapability)
    return std::string(device.name) + " has compute capability " + std::to_string(device.major) + "." +
           std::to_string(device.minor) + ", 8.0 is the least";
  try {
    open_cudnn();
    open_blas();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const std::string& problem() {
  static const std::string found = find_problem();
  return found;
}

void log_failure(cudaError_t status, const char* what) {
  if (status != cudaSuccess && status != cudaErrorCudartUnloading)
    std::fprintf(stderr, "coss: %s: %s\n", what, cudaGetErrorString(status));
}

}  // namespace

void check_cuda(cudaError_t status, const char* what, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error(std::string("CUDA: ") + cudaGetErrorString(status) + " in " + what + " (" + file + ":" +
              std::to_string(line) + ")");
}

void require_gpu() { COSS_CHECK(problem().empty(), "--device cuda cannot be used: " + problem()); }

State::State() {
  require_gpu();
  COSS_CUDA_CHECK(cudaSetDevice(0));
  COSS_CUDA_CHECK(cudaGetDeviceProperties(&device_, 0));
  COSS_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  COSS_CUDA_CHECK(cudaStreamCreateWithFlags(&copy_stream_, cudaStreamNonBlocking));
}

State::~State() {
  log_failure(cudaStreamSynchronize(stream_), "closing the compute stream");
  blas_.reset();
  cudnn_.reset();
  staging_.reset();
  log_failure(cudaStreamDestroy(copy_stream_), "closing the copy stream");
  log_failure(cudaStreamDestroy(stream_), "closing the compute stream");
}

Staging& State::staging() {
  if (!staging_) staging_ = std::make_unique<Staging>(stream_, copy_stream_);
  return *staging_;
}
Cudnn& State::cudnn() {
  if (!cudnn_) cudnn_ = std::make_unique<Cudnn>(*this);
  return *cudnn_;
}
Blas& State::blas() {
  if (!blas_) blas_ = std::make_unique<Blas>(*this);
  return *blas_;
}

void probe(DeviceInfo& info) {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  cudaRuntimeGetVersion(&runtime);
  info.versions = {{"NVIDIA driver, for CUDA", driver ? version_text(driver) : "missing: install NVIDIA's driver"},
                   {"CUDA runtime", version_text(runtime)},
                   {"cuDNN", cudnn_version()},
                   {"cuBLASLt", blas_version()}};
  info.problem = problem();
  info.records = true;
  if (!info.problem.empty()) return;
  cudaDeviceProp device{};
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) return;
  info.name = std::string(device.name) + ", compute capability " + std::to_string(device.major) + "." +
              std::to_string(device.minor) + ", " + std::to_string(device.multiProcessorCount) + " multiprocessors";
  info.fast = {DType::f16, DType::bf16, DType::f32};
  if (cudaMemGetInfo(&info.free_bytes, &info.memory_bytes) != cudaSuccess) cudaGetLastError();
}

int multiprocessors(Context& ctx) { return ctx.state<State>().device().multiProcessorCount; }

}  // namespace coss::cuda
