// Folders, random tensors and normalized errors for the tests.
#include "tests/support/support.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "engine/philox.h"

namespace coss::test {

namespace fs = std::filesystem;

std::optional<std::string> shared_folder() {
  const char* chosen = std::getenv("COSS_SHARED");
  const fs::path folder = chosen ? fs::path(chosen) : fs::path(COSS_GOLDENS) / "../../../shared";
  if (!fs::is_directory(folder)) return std::nullopt;
  return fs::canonical(folder).string();
}

namespace {
struct ScratchFolders {
  ~ScratchFolders() {
    std::error_code ignored;  // a folder that a test has removed itself is fine
    for (const fs::path& path : paths) fs::remove_all(path, ignored);
  }
  std::vector<fs::path> paths;
};
}  // namespace

std::string scratch_folder() {
  static ScratchFolders folders;
  std::string path = (fs::temp_directory_path() / "coss_test_XXXXXX").string();
  COSS_CHECK(mkdtemp(path.data()), "cannot make a scratch folder in " + fs::temp_directory_path().string());
  folders.paths.emplace_back(path);
  return path;
}

std::string golden_path(const std::string& name) { return std::string(COSS_GOLDENS) + "/" + name; }

namespace {
template <class T>
Tensor upload_as(const std::vector<double>& values, Shape shape, Device device) {
  std::vector<T> narrow;
  narrow.reserve(values.size());
  for (double value : values) {
    if constexpr (sizeof(T) == 2)
      narrow.push_back(T(float(value)));  // the 16-bit types convert from float
    else
      narrow.push_back(static_cast<T>(value));
  }
  return Tensor::from(narrow, shape, device);
}
}  // namespace

Tensor make_tensor(const std::vector<double>& values, Shape shape, DType dtype, Device device) {
  switch (dtype) {
    case DType::f32:
      return upload_as<float>(values, shape, device);
    case DType::bf16:
      return upload_as<bf16>(values, shape, device);
    case DType::f16:
      return upload_as<f16>(values, shape, device);
    case DType::f64:
      return upload_as<double>(values, shape, device);
    case DType::i32:
      return upload_as<int32_t>(values, shape, device);
    case DType::i64:
      return upload_as<int64_t>(values, shape, device);
    case DType::u8:
      return upload_as<uint8_t>(values, shape, device);
  }
  return {};
}

Tensor random_tensor(Shape shape, DType dtype, Device device, uint64_t seed, double stddev) {
  RandomStream random(seed, RandomUse::other);
  std::vector<double> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(double(random.normal()) * stddev);
  return make_tensor(values, shape, dtype, device);
}

Tensor convert(const Tensor& x, DType dtype, Device device) {
  return make_tensor(x.to_doubles(), x.shape(), dtype, device);
}

double normalized_error(const Tensor& a, const Tensor& b) { return normalized_error(a.to_doubles(), b.to_doubles()); }

double normalized_error(const std::vector<double>& a, const std::vector<double>& b) {
  COSS_ASSERT(a.size() == b.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return error == 0 ? 0 : error / size;
}

std::vector<Device> devices_under_test() {
#ifdef COSS_CUDA_HOST
  return {Device::cpu, Device::cuda};
#else
  return is_usable(Device::cuda) ? std::vector{Device::cpu, Device::cuda} : std::vector{Device::cpu};
#endif
}

std::vector<Device> devices_for_networks() {
#if defined(COSS_CUDA_HOST) && defined(__SANITIZE_ADDRESS__)
  return {Device::cpu};
#else
  return devices_under_test();
#endif
}

}  // namespace coss::test
