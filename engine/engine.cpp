// Pool, Tensor, Context and the choice of backend: everything of the engine that is not a kernel.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

#include "engine/kernels.h"

namespace coss {

// --- backends ----------------------------------------------------------------------------------------------------

extern const Kernels cpu_kernels;
extern const Kernels dry_kernels;
#ifdef COSS_CUDA
extern const Kernels cuda_kernels;
#endif

namespace {
constexpr size_t kAlignment = 256;

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

// --- Pool --------------------------------------------------------------------------------------------------------

Pool::~Pool() {
  for (auto& [pointer, bytes] : size_of_) kernels(device_).release(pointer);
}

void* Pool::take(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  auto it = free_.lower_bound(bytes);
  if (it != free_.end() && it->first <= bytes + bytes / 8 + kAlignment) {
    pointer = it->second;
    free_.erase(it);
  } else {
    kernels(device_).allocate(bytes, &pointer);
    if (!pointer) {  // give the cache back and try once more
      for (auto& [size, block] : free_) {
        kernels(device_).release(block);
        size_of_.erase(block);
        reserved_ -= size;
      }
      free_.clear();
      kernels(device_).allocate(bytes, &pointer);
    }
    COSS_CHECK(pointer, std::string("out of memory on ") + name_of(device_) + ": " + std::to_string(bytes >> 20) +
                            " MiB wanted, " + std::to_string(in_use_ >> 20) +
                            " MiB in use: lower train.batch, or raise train.accumulate (--batch for other commands)");
    size_of_[pointer] = bytes;
    reserved_ += bytes;
    ++grown_;
  }
  in_use_ += size_of_[pointer];
  peak_ = std::max(peak_, in_use_);
  return pointer;
}

void Pool::give(void* pointer) {
  const std::lock_guard lock(mutex_);
  const size_t bytes = size_of_.at(pointer);
  free_.emplace(bytes, pointer);
  in_use_ -= bytes;
}

void Pool::trim() {
  const std::lock_guard lock(mutex_);
  for (auto& [bytes, pointer] : free_) {
    kernels(device_).release(pointer);
    size_of_.erase(pointer);
    reserved_ -= bytes;
  }
  free_.clear();
}

// --- Context -----------------------------------------------------------------------------------------------------

Context::~Context() {
  state_.reset();
  if (workspace_) pool_->give(workspace_);
}

void* Context::workspace(size_t bytes) {
  if (bytes > workspace_bytes_) {
    if (workspace_) pool_->give(std::exchange(workspace_, nullptr));
    workspace_bytes_ = 0;  // take() may throw
    workspace_ = pool_->take(bytes);
    workspace_bytes_ = bytes;
  }
  return workspace_;
}

PoolScope::Memory::~Memory() {
  if (workspace) pool->give(workspace);
}

void PoolScope::exchange() {
  std::swap(ctx_.pool_, memory_.pool);
  std::swap(ctx_.workspace_, memory_.workspace);
  std::swap(ctx_.workspace_bytes_, memory_.workspace_bytes);
}

Context& context(Device device) {
  // Leaked on purpose: tensors with static lifetime may outlive any order of destruction.
  static Context* contexts[] = {new Context(Device::cpu), new Context(Device::cuda), new Context(Device::reference),
                                new Context(Device::dry)};
  return *contexts[size_t(device)];
}

// --- Tensor ------------------------------------------------------------------------------------------------------

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
