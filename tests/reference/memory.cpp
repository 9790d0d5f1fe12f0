// Memory of the reference backend: the host's.
#include <cstdlib>
#include <cstring>

#include "engine/kernels.h"

namespace coss::reference {

void allocate(size_t bytes, void** pointer) { *pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256); }
void release(void* pointer) { std::free(pointer); }
void upload(Context&, const void* host, Tensor& y) {
  if (y.numel() > 0) std::memcpy(y.mutable_raw(), host, y.bytes());
}
void download(Context&, const Tensor& x, void* host) {
  if (x.numel() > 0) std::memcpy(host, x.raw(), x.bytes());
}
void synchronize(Context&) {}
void probe(DeviceInfo& info) { info.name = "reference"; }
void begin_recording(Context&) { throw Error("the reference backend does not record steps"); }
void end_recording(Context&, std::unique_ptr<Recording>&) {
  throw Error("the reference backend does not record steps");
}
void replay(Context&, Recording&) { throw Error("the reference backend does not record steps"); }

}  // namespace coss::reference
