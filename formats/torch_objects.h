// TorchObjects: the classes and functions that a PyTorch checkpoint's pickle may name, and what they become here:
// storages, tensors as views of them, and plain values.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/pickle.h"
#include "formats/tensor_file.h"

namespace coss {

struct TorchStorage {
  std::string key;  // of the file's entry; empty when the bytes stood in the pickle (NumPy arrays)
  FileDType dtype = FileDType::u8;
  int64_t numel = 0;
  std::vector<uint8_t> bytes;
  bool big_endian = false;  // of those bytes
};

class TorchObjects : public PickleHost {
 public:
  bool knows(const std::string& global) const override;
  PickleRef call(PickleHeap& heap, const std::string& global, PickleRef arguments) override;
  void build(PickleHeap& heap, PickleRef object, PickleRef state) override;
  PickleRef persistent(PickleHeap& heap, PickleRef id) override;

  const std::vector<TorchStorage>& storages() const { return storages_; }
  // -1 when there is none.
  int64_t find_storage(const std::string& key) const;
  std::vector<TorchStorage> take_storages() { return std::move(storages_); }

  // Every tensor below `root`, named by its path: "state_dict.layer1.0.conv1.weight". Plain numbers and texts near the
  // root go to `metadata`.
  std::vector<FileTensor> flatten(const PickleHeap& heap, PickleRef root,
                                  std::map<std::string, std::string>& metadata) const;

 private:
  // A storage that is a part of another one (old files): begin and length in elements.
  struct StorageView {
    int64_t storage, begin, numel;
  };

  PickleRef rebuild_tensor(PickleHeap& heap, const std::vector<PickleRef>& arguments, const FileDType* dtype);
  PickleRef add_array(PickleHeap& heap, PickleRef dtype, PickleRef shape, PickleRef bytes, bool fortran);
  PickleRef add_tensor(PickleHeap& heap, FileTensor tensor, const StorageView& view);
  PickleRef numpy_dtype(PickleHeap& heap, const std::string& text) const;
  PickleRef numpy_scalar(PickleHeap& heap, PickleRef dtype, PickleRef bytes) const;

  std::vector<TorchStorage> storages_;
  std::unordered_map<std::string, size_t> by_key_;
  std::vector<StorageView> views_;  // what a storage value stands for
  std::vector<FileTensor> tensors_;
};

}  // namespace coss
