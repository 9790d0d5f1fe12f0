// Uploads that do not wait. They go through pinned memory; large ones use the copy stream while kernels run.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace coss::cuda {

// One ring of pinned buffers is for small uploads, one for large ones. Each buffer of the second has a twin: a buffer
// of the same size on the device. The copy stream fills the twin while earlier kernels run, and the compute stream
// copies the twin to the tensor, so that tensors change in the order of the launches. The host waits only when the
// device is a whole ring behind.
class Staging {
 public:
  Staging(cudaStream_t compute, cudaStream_t copy) : compute_(compute), copy_(copy) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(const void* host, void* device, size_t bytes);

 private:
  struct Slot {
    void *pinned = nullptr, *twin = nullptr;
    cudaEvent_t arrived = nullptr;   // signals that the pinned buffer may be written again
    cudaEvent_t consumed = nullptr;  // signals that the twin may be written again
  };
  class Ring {
   public:
    Ring(size_t slots, size_t bytes) : slots_(slots), bytes_(bytes) {}
    ~Ring();
    size_t bytes() const { return bytes_; }
    // The next buffer, once the host may write it. It is allocated, with or without a twin, at its first use.
    Slot& next(bool twin);

   private:
    std::vector<Slot> slots_;
    size_t bytes_, at_ = 0;
  };

  cudaStream_t compute_, copy_;
  Ring small_{64, size_t(64) << 10}, large_{3, size_t(32) << 20};
};

}  // namespace coss::cuda
