// Uploads that do not wait: through pinned memory, large ones on the copy stream while kernels run.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace coss::cuda {

// A ring of pinned buffers for small uploads, and one for large ones, where each buffer has a twin on the device: the
// copy stream fills the twin while earlier kernels run, and the compute stream copies it to its place, so that a tensor
// changes in the order of the launches. The host waits only when the device is a whole ring behind.
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
    cudaEvent_t arrived = nullptr;   // the pinned buffer may be written again
    cudaEvent_t consumed = nullptr;  // the twin may be
  };
  class Ring {
   public:
    Ring(size_t slots, size_t bytes) : slots_(slots), bytes_(bytes) {}
    ~Ring();
    size_t bytes() const { return bytes_; }
    // The next buffer, free for the host. Makes it, with a twin or without, when it is used first.
    Slot& next(bool twin);

   private:
    std::vector<Slot> slots_;
    size_t bytes_, at_ = 0;
  };

  cudaStream_t compute_, copy_;
  Ring small_{64, size_t(64) << 10}, large_{3, size_t(32) << 20};
};

}  // namespace coss::cuda
