// Device memory, transfers, and recorded steps (CUDA graphs).
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/cuda/launch.h"
#include "engine/cuda/library/staging.h"
#include "engine/kernels.h"

namespace coss::cuda {

// --- staging -------------------------------------------------------------------------------------------------------

Staging::Ring::~Ring() {
  for (const Slot& slot : slots_) {
    if (slot.arrived) cudaEventDestroy(slot.arrived);
    if (slot.consumed) cudaEventDestroy(slot.consumed);
    if (slot.pinned) cudaFreeHost(slot.pinned);
    if (slot.twin) cudaFree(slot.twin);
  }
}

Staging::Slot& Staging::Ring::next(bool twin) {
  Slot& slot = slots_[at_];
  at_ = (at_ + 1) % slots_.size();
  if (slot.arrived) {
    COSS_CUDA_CHECK(cudaEventSynchronize(slot.arrived));
    return slot;
  }
  COSS_CUDA_CHECK(cudaMallocHost(&slot.pinned, bytes_));
  if (twin) COSS_CUDA_CHECK(cudaMalloc(&slot.twin, bytes_));
  COSS_CUDA_CHECK(cudaEventCreateWithFlags(&slot.consumed, cudaEventDisableTiming));
  COSS_CUDA_CHECK(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming));
  return slot;
}

Staging::~Staging() { cudaStreamSynchronize(copy_); }

void Staging::upload(const void* host, void* device, size_t bytes) {
  if (bytes <= small_.bytes()) {
    Slot& slot = small_.next(/*twin=*/false);
    std::memcpy(slot.pinned, host, bytes);
    COSS_CUDA_CHECK(cudaMemcpyAsync(device, slot.pinned, bytes, cudaMemcpyHostToDevice, compute_));
    COSS_CUDA_CHECK(cudaEventRecord(slot.arrived, compute_));
    return;
  }
  for (size_t done = 0; done < bytes; done += large_.bytes()) {
    const size_t part = std::min(large_.bytes(), bytes - done);
    Slot& slot = large_.next(/*twin=*/true);
    std::memcpy(slot.pinned, static_cast<const char*>(host) + done, part);
    COSS_CUDA_CHECK(cudaStreamWaitEvent(copy_, slot.consumed));
    COSS_CUDA_CHECK(cudaMemcpyAsync(slot.twin, slot.pinned, part, cudaMemcpyHostToDevice, copy_));
    COSS_CUDA_CHECK(cudaEventRecord(slot.arrived, copy_));
    COSS_CUDA_CHECK(cudaStreamWaitEvent(compute_, slot.arrived));
    COSS_CUDA_CHECK(
        cudaMemcpyAsync(static_cast<char*>(device) + done, slot.twin, part, cudaMemcpyDeviceToDevice, compute_));
    COSS_CUDA_CHECK(cudaEventRecord(slot.consumed, compute_));
  }
}

// --- memory --------------------------------------------------------------------------------------------------------

namespace {

cudaStream_t stream_of(Context& ctx) { return ctx.state<State>().stream(); }

void must_not_record(Context& ctx, const char* what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  COSS_CUDA_CHECK(cudaStreamIsCapturing(stream_of(ctx), &status));
  COSS_CHECK(status == cudaStreamCaptureStatusNone,
             std::string("[") + what + "] the host and the device meet while a step is being recorded");
}

struct Graph : Recording {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ~Graph() override {
    if (executable) cudaGraphExecDestroy(executable);
    if (graph) cudaGraphDestroy(graph);
  }
};

}  // namespace

void allocate(size_t bytes, void** pointer) {
  require_gpu();
  *pointer = nullptr;
  const cudaError_t status = cudaMalloc(pointer, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    *pointer = nullptr;
    return;
  }
  check_cuda(status, "cudaMalloc", __FILE__, __LINE__);
}

void release(void* pointer) {
  const cudaError_t status = cudaFree(pointer);  // waits for the device
  if (status != cudaSuccess && status != cudaErrorCudartUnloading)
    std::fprintf(stderr, "coss: cudaFree: %s\n", cudaGetErrorString(status));
}

void upload(Context& ctx, const void* host, Tensor& y) {
  must_not_record(ctx, "upload");
  if (y.numel() > 0) ctx.state<State>().staging().upload(host, y.mutable_raw(), y.bytes());
}

void download(Context& ctx, const Tensor& x, void* host) {
  must_not_record(ctx, "download");
  if (x.numel() > 0) COSS_CUDA_CHECK(cudaMemcpyAsync(host, x.raw(), x.bytes(), cudaMemcpyDeviceToHost, stream_of(ctx)));
  synchronize(ctx);
}

void synchronize(Context& ctx) {
  must_not_record(ctx, "synchronize");
  ctx.count_wait();
  COSS_CUDA_CHECK(cudaStreamSynchronize(stream_of(ctx)));
}

void zero_bytes(Context& ctx, void* y, size_t bytes) { COSS_CUDA_CHECK(cudaMemsetAsync(y, 0, bytes, stream_of(ctx))); }

void copy_bytes(Context& ctx, const void* x, void* y, size_t bytes) {
  COSS_CUDA_CHECK(cudaMemcpyAsync(y, x, bytes, cudaMemcpyDeviceToDevice, stream_of(ctx)));
}

// --- recorded steps ------------------------------------------------------------------------------------------------

void begin_recording(Context& ctx) {
  COSS_CUDA_CHECK(cudaStreamBeginCapture(stream_of(ctx), cudaStreamCaptureModeThreadLocal));
}

void end_recording(Context& ctx, std::unique_ptr<Recording>& recording) {
  auto made = std::make_unique<Graph>();
  COSS_CUDA_CHECK(cudaStreamEndCapture(stream_of(ctx), &made->graph));
  COSS_CUDA_CHECK(cudaGraphInstantiate(&made->executable, made->graph, 0));
  recording = std::move(made);
}

void replay(Context& ctx, Recording& recording) {
  COSS_CUDA_CHECK(cudaGraphLaunch(static_cast<Graph&>(recording).executable, stream_of(ctx)));
}

}  // namespace coss::cuda
