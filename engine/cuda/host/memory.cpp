// Device memory and recordings of the host-run build: memory is the host's, and a recording is a list of functions to
// run.
#include <cstdlib>
#include <cstring>

#include "engine/cuda/launch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

struct List : Recording {
  std::vector<std::function<void()>> work;
};
std::unique_ptr<List> recorded;  // the recording being made

void must_not_record(const char* what) {
  COSS_CHECK(!recorded, std::string("[") + what + "] the host and the device meet while a step is being recorded");
}

}  // namespace

namespace host {
void run_or_record(std::function<void()> work) {
  if (recorded)
    recorded->work.push_back(std::move(work));
  else
    work();
}
}  // namespace host

int multiprocessors(Context&) { return 3; }

void zero_bytes(Context&, void* y, size_t bytes) {
  host::run_or_record([=] { std::memset(y, 0, bytes); });
}
void copy_bytes(Context&, const void* x, void* y, size_t bytes) {
  host::run_or_record([=] { std::memcpy(y, x, bytes); });
}

void probe(DeviceInfo& info) {
  info.problem = "its kernels run on the processor here, for tests";
  info.records = true;
}

void allocate(size_t bytes, void** pointer) { *pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256); }
void release(void* pointer) { std::free(pointer); }

void upload(Context&, const void* from, Tensor& y) {
  must_not_record("upload");
  if (y.numel() > 0) std::memcpy(y.mutable_raw(), from, y.bytes());
}
void download(Context& ctx, const Tensor& x, void* to) {
  must_not_record("download");
  ctx.count_wait();
  if (x.numel() > 0) std::memcpy(to, x.raw(), x.bytes());
}
void synchronize(Context& ctx) {
  must_not_record("synchronize");
  ctx.count_wait();
}

void begin_recording(Context&) {
  COSS_ASSERT(!recorded);
  recorded = std::make_unique<List>();
}
void end_recording(Context&, std::unique_ptr<Recording>& recording) {
  COSS_ASSERT(recorded);
  recording = std::move(recorded);
}
void replay(Context&, Recording& recording) {
  for (const auto& work : static_cast<List&>(recording).work) work();
}

}  // namespace coss::cuda
