// Tensor: an array with a shape and a dtype on a device. Copying a Tensor shares its storage. There are no strides: a
// view has the same bytes, an offset and another shape.
#pragma once
#include <memory>
#include <vector>

#include "engine/check.h"
#include "engine/types.h"

namespace coss {

class Pool;

class Tensor {
 public:
  Tensor() = default;
  // Uninitialized memory from the pool of `device`.
  Tensor(Shape shape, DType dtype, Device device);
  // A host copy of `values`, uploaded to `device`. T is one of the types of DTypeOf.
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape, Device device);

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t numel() const { return shape_.numel(); }
  size_t bytes() const { return size_t(numel()) * size_of(dtype_); }
  bool empty() const { return storage_ == nullptr; }
  // True when no other tensor shares the storage.
  bool unique() const { return storage_.use_count() == 1; }

  // A view of `shape` that starts `offset` elements into this tensor.
  Tensor view(int64_t offset, Shape shape) const;
  Tensor reshape(Shape shape) const { return view(0, shape); }

  // Typed access; the type must be the tensor's. Writing access changes version().
  template <class T>
  const T* data() const {
    COSS_ASSERT(dtype_ == DTypeOf<T>::value);
    return static_cast<const T*>(raw());
  }
  template <class T>
  T* mutable_data() {
    COSS_ASSERT(dtype_ == DTypeOf<T>::value);
    return static_cast<T*>(mutable_raw());
  }
  const void* raw() const;
  void* mutable_raw();

  // A number that is unique in the process and changes whenever the storage is opened for writing through any view.
  // Values derived from a tensor (reordered weights, folded norms) stay valid while it is the same.
  uint64_t version() const;

  // Copies to the host; these wait for the device.
  template <class T>
  std::vector<T> to_vector() const;
  std::vector<double> to_doubles() const;  // any dtype
  double item() const { return to_doubles().at(0); }

 private:
  struct Storage;
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
};

}  // namespace coss
