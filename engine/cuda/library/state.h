// What the CUDA backend keeps between launches: its streams, the staging memory of uploads, and the handle of each
// library.
#pragma once
#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "engine/check.h"
#include "engine/context.h"
#include "engine/tensor.h"

namespace coss::cuda {

// Throws an Error with the call that failed, its place in the source, and CUDA's message.
void check_cuda(cudaError_t status, const char* what, const char* file, int line);
#define COSS_CUDA_CHECK(call) ::coss::cuda::check_cuda((call), #call, __FILE__, __LINE__)

class Staging;  // memory.cpp
class Cudnn;    // cudnn.h
class Blas;     // blas.h

class State : public BackendState {
 public:
  State();  // throws Error when there is no usable GPU
  ~State() override;

  cudaStream_t stream() const { return stream_; }  // all kernels
  cudaStream_t copy_stream() const { return copy_stream_; }
  const cudaDeviceProp& device() const { return device_; }
  Staging& staging();
  // A library is opened at its first use. If it is missing, the Error names it and says what to do.
  Cudnn& cudnn();
  Blas& blas();

 private:
  cudaDeviceProp device_{};
  cudaStream_t stream_ = nullptr, copy_stream_ = nullptr;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<Cudnn> cudnn_;
  std::unique_ptr<Blas> blas_;
};

// Throws Error in one line when no GPU can be used: there is none, or its driver is too old.
void require_gpu();

}  // namespace coss::cuda
