// TorchObjects: the classes and functions that a PyTorch checkpoint's pickle may call, and what they become here:
// storages, tensors as views of them, and plain values. An instance of any other class, as in a whole pickled module or
// a TorchScript archive, becomes a bag of its attributes, and the result of any other call an opaque value. Neither the
// class nor the function is ever looked up. Names that would run programs or open files, which no checkpoint needs, are
// an error: such a file is an attack on those who load it with Python.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/pickle.h"
#include "formats/tensor_file.h"

namespace coss {

struct TorchStorage {
  std::string key;  // name of its entry in the file; empty when the bytes were in the pickle (NumPy arrays)
  FileDType dtype = FileDType::u8;
  int64_t numel = 0;
  std::vector<uint8_t> bytes;
  bool big_endian = false;  // of those bytes
};

class TorchObjects : public PickleHost {
 public:
  bool knows(const std::string& global) override;
  PickleRef call(PickleHeap& heap, const std::string& global, PickleRef arguments) override;
  PickleRef make(PickleHeap& heap, PickleRef type, PickleRef arguments) override;
  void build(PickleHeap& heap, PickleRef object, PickleRef state) override;
  PickleRef persistent(PickleHeap& heap, PickleRef id) override;

  const std::vector<TorchStorage>& storages() const { return storages_; }
  // -1 when there is none.
  int64_t find_storage(const std::string& key) const;
  std::vector<TorchStorage> take_storages() { return std::move(storages_); }

  // For containers that describe these outside the pickle: a storage, a part of a storage, a tensor. Offsets and
  // lengths are in elements, and each is checked against what holds it.
  PickleRef add_storage(PickleHeap& heap, const std::string& key, FileDType dtype, int64_t numel);
  PickleRef add_part(PickleHeap& heap, PickleRef storage, int64_t begin, int64_t numel);
  PickleRef add_tensor(PickleHeap& heap, FileTensor tensor, PickleRef storage);
  // The number format that a class of storages or tensors names ("torch.FloatTensor").
  FileDType dtype_of(const PickleHeap& heap, PickleRef type) const;
  FileDType dtype_of_storage(const PickleHeap& heap, PickleRef storage) const {
    return storages_[size_t(views_[size_t(heap[storage].integer)].storage)].dtype;
  }

  // Names outside the allow-list, without repetition, in alphabetical order.
  std::vector<std::string> unknown_classes() const { return {unknown_.begin(), unknown_.end()}; }

  // Every tensor below `root`, named by its path: "state_dict.layer1.0.conv1.weight"; a module's parameters, buffers
  // and modules are named as its state_dict() names them. Plain numbers and texts near the root go to `metadata`.
  std::vector<FileTensor> flatten(const PickleHeap& heap, PickleRef root,
                                  std::map<std::string, std::string>& metadata) const;

 private:
  // In old files a storage may be a part of another one; begin and length are in elements.
  struct StorageView {
    int64_t storage, begin, numel;
  };
  PickleRef rebuild_tensor(PickleHeap& heap, const std::vector<PickleRef>& arguments, const FileDType* dtype);
  PickleRef add_array(PickleHeap& heap, PickleRef dtype, PickleRef shape, PickleRef bytes, bool fortran);
  PickleRef add_view(PickleHeap& heap, FileTensor tensor, const StorageView& view);
  PickleRef add_unreadable(PickleHeap& heap, PickleRef shape, const std::string& why);
  void build_bag(PickleHeap& heap, PickleRef object, PickleRef state);
  PickleRef numpy_dtype(PickleHeap& heap, const std::string& text) const;
  PickleRef numpy_scalar(PickleHeap& heap, PickleRef dtype, PickleRef bytes) const;

  std::vector<TorchStorage> storages_;
  std::unordered_map<std::string, size_t> by_key_;
  std::vector<StorageView> views_;  // the part of a storage that each storage value stands for
  std::vector<FileTensor> tensors_;
  std::set<std::string> unknown_;
};

}  // namespace coss
