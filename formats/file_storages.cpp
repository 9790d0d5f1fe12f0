// Reads storages at their positions in the file.
#include "formats/file_storages.h"

#include <cstring>

namespace coss {

FileStorages::FileStorages(std::shared_ptr<const FileBytes> file, std::vector<TorchStorage> storages,
                           std::vector<int64_t> begins, bool big_endian)
    : file_(std::move(file)), storages_(std::move(storages)), begins_(std::move(begins)), big_endian_(big_endian) {}

void FileStorages::read(int64_t storage, int64_t offset, uint8_t* out, int64_t bytes) const {
  const TorchStorage& from = storages_[size_t(storage)];
  if (from.key.empty()) {
    std::memcpy(out, from.bytes.data() + offset, size_t(bytes));
  } else {
    file_->read(begins_[size_t(storage)] + offset, out, bytes);
  }
}

bool FileStorages::big_endian(int64_t storage) const {
  const TorchStorage& from = storages_[size_t(storage)];
  return from.key.empty() ? from.big_endian : big_endian_;
}

bool says_big_endian(const PickleHeap& heap, PickleRef sys_info) {
  const std::vector<PickleRef>& items = heap[sys_info].items;
  if (heap[sys_info].kind != PickleKind::dict) return false;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (heap[items[i]].text == "little_endian") return heap[items[i + 1]].integer == 0;
  }
  return false;
}

}  // namespace coss
