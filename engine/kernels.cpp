// The tables of the backends, by device.
#include "engine/kernels.h"

namespace coss {

extern const Kernels cpu_kernels;
extern const Kernels dry_kernels;
#ifdef COSS_CUDA
extern const Kernels cuda_kernels;
#endif

namespace {
const Kernels*& table_of(Device device) {
#ifdef COSS_CUDA
  static const Kernels* tables[] = {&cpu_kernels, &cuda_kernels, nullptr, &dry_kernels};
#else
  static const Kernels* tables[] = {&cpu_kernels, nullptr, nullptr, &dry_kernels};
#endif
  return tables[size_t(device)];
}
}  // namespace

const Kernels& kernels(Device device) {
  const Kernels* table = table_of(device);
  COSS_CHECK(table, std::string("this build of coss has no ") + name_of(device) +
                        " backend: use --device cpu, or build it with cmake --preset cuda");
  return *table;
}

void require(Device device) {
  DeviceInfo info;
  kernels(device).probe(info);
  COSS_CHECK(info.problem.empty(), std::string("--device ") + name_of(device) + " cannot be used: " + info.problem);
}

bool is_usable(Device device) {
  if (!table_of(device)) return false;
  DeviceInfo info;
  kernels(device).probe(info);
  return info.problem.empty();
}

void register_backend(Device device, const Kernels* table) { table_of(device) = table; }

}  // namespace coss
