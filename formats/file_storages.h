// FileStorages: storages that stand as raw numbers in the file itself, as PyTorch's containers before zip have them.
#pragma once
#include <memory>
#include <vector>

#include "formats/file_bytes.h"
#include "formats/torch_objects.h"

namespace coss {

class FileStorages : public StorageReader {
 public:
  // `begins` has the place of each storage in the file; that of one whose bytes stood in the pickle is not used.
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

// Whether sys_info, the dictionary of system facts of such a file, says so.
bool says_big_endian(const PickleHeap& heap, PickleRef sys_info);

}  // namespace coss
