// Every entry is one storage, in which the numbers begin after the .npy header.
#include "formats/npz.h"

#include <algorithm>
#include <cstring>

#include "formats/npy.h"

namespace coss {
namespace {

constexpr char kEnding[] = ".npy";

FileTensor tensor_from(const NpyHeader& header, std::string name, int64_t storage) {
  FileTensor tensor;
  tensor.name = std::move(name);
  tensor.dtype = header.dtype;
  tensor.shape = header.shape;
  tensor.storage = storage;
  tensor.offset = header.data_start;
  tensor.strides.resize(header.shape.size());
  int64_t stride = 1;
  for (size_t i = 0; i < header.shape.size(); ++i) {
    const size_t axis = header.fortran ? i : header.shape.size() - 1 - i;
    tensor.strides[axis] = stride;
    stride *= std::max<int64_t>(header.shape[axis], 1);
  }
  return tensor;
}

struct Found {
  ZipEntry entry;
  bool big_endian;
};

class NpzStorages : public StorageReader {
 public:
  NpzStorages(std::shared_ptr<const ZipArchive> archive, std::vector<Found> places)
      : archive_(std::move(archive)), places_(std::move(places)) {}
  void read(int64_t storage, int64_t offset, uint8_t* out, int64_t bytes) const override {
    archive_->read(places_[size_t(storage)].entry, offset, out, bytes);
  }
  bool big_endian(int64_t storage) const override { return places_[size_t(storage)].big_endian; }

 private:
  std::shared_ptr<const ZipArchive> archive_;
  std::vector<Found> places_;
};

class NpyStorage : public StorageReader {
 public:
  NpyStorage(std::shared_ptr<const FileBytes> file, bool big_endian)
      : file_(std::move(file)), big_endian_(big_endian) {}
  void read(int64_t, int64_t offset, uint8_t* out, int64_t bytes) const override { file_->read(offset, out, bytes); }
  bool big_endian(int64_t) const override { return big_endian_; }

 private:
  std::shared_ptr<const FileBytes> file_;
  bool big_endian_;
};

}  // namespace

bool looks_like_npz(const ZipArchive& archive) {
  bool arrays = false;
  for (int64_t i = 0; i < archive.entries(); ++i) {
    const std::string name = archive.name(i);
    if (name == "data.pkl" || name.ends_with("/data.pkl")) return false;
    arrays |= name.ends_with(kEnding);
  }
  return arrays;
}

TensorFileParts read_npz(std::shared_ptr<const ZipArchive> archive) {
  TensorFileParts parts;
  parts.path = archive->path();
  parts.container = "NumPy npz";
  std::vector<Found> places;
  for (int64_t i = 0; i < archive->entries(); ++i) {
    const std::string name = archive->name(i);
    if (!name.ends_with(kEnding)) continue;
    const std::string what = parts.path + ": entry '" + name + "'";
    const ZipEntry entry = archive->entry(i);
    std::vector<uint8_t> head(size_t(std::min(entry.bytes, kNpyPrefix)));
    archive->read(entry, 0, head.data(), int64_t(head.size()));
    head.resize(size_t(std::min(entry.bytes, npy_header_bytes(head, what))));
    archive->read(entry, 0, head.data(), int64_t(head.size()));
    const NpyHeader header = parse_npy_header(head, entry.bytes, what);
    parts.tensors.push_back(
        tensor_from(header, name.substr(0, name.size() - std::strlen(kEnding)), int64_t(places.size())));
    places.push_back({entry, header.big_endian});
  }
  parts.storages = std::make_shared<NpzStorages>(std::move(archive), std::move(places));
  return parts;
}

bool looks_like_npy(const FileBytes& file) {
  const std::vector<uint8_t> head = file.head(6);
  return head.size() == 6 && std::memcmp(head.data(), "\x93NUMPY", 6) == 0;
}

TensorFileParts read_npy_tensor(std::shared_ptr<const FileBytes> file) {
  const int64_t start = npy_header_bytes(file->head(kNpyPrefix), file->path());
  const NpyHeader header = parse_npy_header(file->head(start), file->size(), file->path());
  TensorFileParts parts;
  parts.path = file->path();
  parts.container = "NumPy npy";
  parts.tensors.push_back(tensor_from(header, "tensor", 0));
  parts.storages = std::make_shared<NpyStorage>(std::move(file), header.big_endian);
  return parts;
}

}  // namespace coss
