// Storage with its version, views, and copies to the host.
#include "engine/tensor.h"

#include <atomic>
#include <utility>

#include "engine/kernels.h"

namespace coss {

namespace {
uint64_t next_version() {
  static std::atomic<uint64_t> counter{1};
  return counter.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

struct Tensor::Storage {
  Storage(std::shared_ptr<Pool> owner, size_t bytes) : pool(std::move(owner)), pointer(pool->take(bytes)) {}
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() { pool->give(pointer); }

  std::shared_ptr<Pool> pool;
  void* pointer;
  std::atomic<uint64_t> version{next_version()};
};

Tensor::Tensor(Shape shape, DType dtype, Device device) : shape_(shape), dtype_(dtype), device_(device) {
  storage_ = std::make_shared<Storage>(context(device).shared_pool(), bytes());
}

template <class T>
Tensor Tensor::from(const std::vector<T>& values, Shape shape, Device device) {
  COSS_ASSERT(int64_t(values.size()) == shape.numel());
  Tensor tensor(shape, DTypeOf<T>::value, device);
  kernels(device).upload(context(device), values.data(), tensor);
  return tensor;
}

Tensor Tensor::view(int64_t offset, Shape shape) const {
  COSS_ASSERT(offset >= 0 && offset + shape.numel() <= numel());
  Tensor tensor = *this;
  tensor.offset_ += offset;
  tensor.shape_ = shape;
  return tensor;
}

const void* Tensor::raw() const {
  COSS_ASSERT(storage_);
  return static_cast<const char*>(storage_->pointer) + offset_ * int64_t(size_of(dtype_));
}

void* Tensor::mutable_raw() {
  COSS_ASSERT(storage_);
  storage_->version.store(next_version(), std::memory_order_relaxed);
  return static_cast<char*>(storage_->pointer) + offset_ * int64_t(size_of(dtype_));
}

uint64_t Tensor::version() const { return storage_ ? storage_->version.load(std::memory_order_relaxed) : 0; }

template <class T>
std::vector<T> Tensor::to_vector() const {
  COSS_ASSERT(dtype_ == DTypeOf<T>::value);
  std::vector<T> values(static_cast<size_t>(numel()));
  if (!values.empty()) kernels(device_).download(context(device_), *this, values.data());
  return values;
}

std::vector<double> Tensor::to_doubles() const {
  auto widened = [](const auto& values) {
    std::vector<double> wide;
    wide.reserve(values.size());
    for (auto value : values) {
      if constexpr (sizeof(value) == 2)
        wide.push_back(double(float(value)));
      else
        wide.push_back(double(value));
    }
    return wide;
  };
  switch (dtype_) {
    case DType::f32:
      return widened(to_vector<float>());
    case DType::bf16:
      return widened(to_vector<bf16>());
    case DType::f16:
      return widened(to_vector<f16>());
    case DType::f64:
      return to_vector<double>();
    case DType::i32:
      return widened(to_vector<int32_t>());
    case DType::i64:
      return widened(to_vector<int64_t>());
    case DType::u8:
      return widened(to_vector<uint8_t>());
  }
  return {};
}

#define COSS_INSTANTIATE(T)                                              \
  template Tensor Tensor::from<T>(const std::vector<T>&, Shape, Device); \
  template std::vector<T> Tensor::to_vector<T>() const;
COSS_INSTANTIATE(float)
COSS_INSTANTIATE(bf16)
COSS_INSTANTIATE(f16)
COSS_INSTANTIATE(double)
COSS_INSTANTIATE(int32_t)
COSS_INSTANTIATE(int64_t)
COSS_INSTANTIATE(uint8_t)
#undef COSS_INSTANTIATE

}  // namespace coss
