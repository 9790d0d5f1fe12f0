// What every test program shares: folders, random tensors, normalized errors, and the list of backends under test.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/kernels.h"

namespace coss::test {

// The folder of real data and checkpoints (environment COSS_SHARED, default ../shared beside the source), if it exists.
std::optional<std::string> shared_folder();
// A fresh empty folder that is removed at exit.
std::string scratch_folder();
// tests/goldens/<name>
std::string golden_path(const std::string& name);

// Normal(0, 1) * stddev values, the same on every device for the same seed.
Tensor random_tensor(Shape shape, DType dtype, Device device, uint64_t seed, double stddev = 1);
// `values`, rounded to dtype.
Tensor make_tensor(const std::vector<double>& values, Shape shape, DType dtype, Device device);
// The same values on another device and in another dtype.
Tensor convert(const Tensor& x, DType dtype, Device device);
// sum (a - b)^2 / sum b^2, over doubles.
double normalized_error(const Tensor& a, const Tensor& b);
double normalized_error(const std::vector<double>& a, const std::vector<double>& b);

// The devices whose kernels are tested against the reference: cpu, and cuda on a GPU or, in a build without the CUDA
// backend, its own kernels run on the processor.
std::vector<Device> devices_under_test();
// The same for whole networks. Under a sanitizer it leaves out the CUDA kernels that run on the processor, which would
// take minutes.
std::vector<Device> devices_for_networks();
// Defined in tests/reference: the third backend, naive loops in double (f64, integers).
void register_reference_backend();

}  // namespace coss::test
