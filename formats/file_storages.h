// FileStorages: storages that are raw numbers in the file itself, as in PyTorch's containers before zip.
#pragma once
#include <memory>
#include <vector>

#include "formats/file_bytes.h"
#include "formats/torch_objects.h"

namespace coss {

class FileStorages : public StorageReader {
 public:
  // `begins` has the position of each storage in the file. It is not used for a storage whose bytes were in the pickle.
  FileStorages(std::shared_ptr<const FileBytes> file, std::vector<TorchStorage> storages, std::vector<int64_t> begins,
               bool big_endian);
  void read(int64_t storage, int64_t offset, uint8_t* out, int64_t bytes) const override;
  bool big_endian(int64_t storage) const override;

 private:
  std::shared_ptr<const FileBytes> file_;
  std::vector<TorchStorage> storages_;
  std::vector<int64_t> begins_;
  bool big_endian_;
};

// Whether sys_info, the dictionary of system facts in such a file, says that numbers are big-endian.
bool says_big_endian(const PickleHeap& heap, PickleRef sys_info);

}  // namespace coss
