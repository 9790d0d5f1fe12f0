// Memory of the host and the number of threads that the CPU kernels use.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

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

void allocate(size_t bytes, void** pointer) {
  // Large blocks get huge pages: a training step walks gigabytes, and small pages would miss in the TLB all the way.
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

void download(Context&, const Tensor& x, void* host) {
  if (x.numel() > 0) std::memcpy(host, x.raw(), x.bytes());
}

void synchronize(Context&) {}

}  // namespace cpu
}  // namespace coss
