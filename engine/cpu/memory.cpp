// Memory of the host, and the number of threads of the CPU kernels.
#include <oneapi/dnnl/dnnl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/cpu/library/widen.h"
#include "engine/cpu/parallel.h"
#include "engine/kernels.h"

namespace coss {

namespace {
int& thread_count() {
  static int count = omp_get_max_threads();
  return count;
}
}  // namespace

void set_threads(int count) {
  COSS_CHECK(count >= 0, "--threads " + std::to_string(count) + ": give a positive number, or 0 for one per core");
  thread_count() = count > 0 ? count : omp_get_num_procs();
  omp_set_num_threads(thread_count());  // for the libraries; own kernels ask threads()
}

int threads() { return thread_count(); }

namespace cpu {

void probe(DeviceInfo& info) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && info.name.empty()) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with("model name")) info.name = line.substr(colon + 2);
  }
  if (info.name.empty()) info.name = "unknown processor";
  const dnnl_version_t* library = dnnl_version();
  info.versions = {{"oneDNN", std::to_string(library->major) + "." + std::to_string(library->minor) + "." +
                                  std::to_string(library->patch)},
                   {"threads", std::to_string(threads())}};
  info.fast = {DType::f32};
  if (has_bf16_dot_product()) info.fast.push_back(DType::bf16);
  const auto page = size_t(sysconf(_SC_PAGESIZE));
  info.memory_bytes = size_t(sysconf(_SC_PHYS_PAGES)) * page;
  info.free_bytes = size_t(sysconf(_SC_AVPHYS_PAGES)) * page;
}

void allocate(size_t bytes, void** pointer) {
  // Large blocks get huge pages: a training step reads gigabytes, and small pages would cause TLB misses throughout.
  constexpr size_t kHugePage = 2 << 20;
  const bool large = bytes >= 2 * kHugePage;
  *pointer = nullptr;
  if (posix_memalign(pointer, large ? kHugePage : 256, bytes) != 0) {
    *pointer = nullptr;
  } else if (large) {
    madvise(*pointer, bytes, MADV_HUGEPAGE);  // advice: without it everything still works
  }
}

void release(void* pointer) { std::free(pointer); }

void upload(Context&, const void* host, Tensor& y) {
  if (y.numel() > 0) std::memcpy(y.mutable_raw(), host, y.bytes());
}

void download(Context& ctx, const Tensor& x, void* host) {
  ctx.count_wait();
  if (x.numel() > 0) std::memcpy(host, x.raw(), x.bytes());
}

void synchronize(Context& ctx) { ctx.count_wait(); }

// A kernel has finished when its call returns, so there is nothing to record.
void begin_recording(Context&) { throw Error("the CPU backend does not record steps"); }
void end_recording(Context&, std::unique_ptr<Recording>&) { throw Error("the CPU backend does not record steps"); }
void replay(Context&, Recording&) { throw Error("the CPU backend does not record steps"); }

}  // namespace cpu
}  // namespace coss
