// TensorFile: a file of named tensors, whatever its container. Opening reads names and shapes only. The values are read
// on demand, one tensor at a time, so memory is bounded by the largest tensor that is read.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/file_dtype.h"

namespace coss {

// A tensor in a file: a strided view of one of the file's storages. The code that makes one checks that it lies inside.
struct FileTensor {
  std::string name;
  FileDType dtype = FileDType::f32;
  std::vector<int64_t> shape;
  int64_t storage = 0;           // index of one of the file's storages
  int64_t offset = 0;            // of the first element in the storage, in bytes
  std::vector<int64_t> strides;  // in elements, never negative
  std::string unreadable;        // why its values cannot be read, such as "is sparse"; empty when they can

  int64_t numel() const;
  int64_t bytes() const { return numel() * size_of(dtype); }
};

// The storages of a file: arrays of bytes, which several threads may read. One implementation per container.
class StorageReader {
 public:
  virtual ~StorageReader() = default;
  // Fills `out` from `offset` in a storage; Error that names the file when it cannot.
  virtual void read(int64_t storage, int64_t offset, uint8_t* out, int64_t bytes) const = 0;
  virtual bool big_endian(int64_t storage) const = 0;
};

// The result of a container's reader.
struct TensorFileParts {
  std::string path;
  std::string container;
  std::vector<FileTensor> tensors;
  std::map<std::string, std::string> metadata;
  // Names of classes and functions of a pickle that coss does not know. Their values were left out, and none was
  // called.
  std::vector<std::string> unknown_classes = {};
  std::shared_ptr<const StorageReader> storages;
};

class TensorFile {
 public:
  explicit TensorFile(TensorFileParts parts);

  const std::string& path() const { return parts_.path; }
  const std::string& container() const { return parts_.container; }  // "safetensors", "PyTorch zip" …
  const std::vector<FileTensor>& tensors() const { return parts_.tensors; }
  // Strings in the file besides its tensors: safetensors' __metadata__, plain numbers and texts of a PyTorch file.
  const std::map<std::string, std::string>& metadata() const { return parts_.metadata; }
  // "pathlib.PosixPath": what a pickle holds besides and coss left out, in alphabetical order.
  const std::vector<std::string>& unknown_classes() const { return parts_.unknown_classes; }
  // Null when there is none.
  const FileTensor* find(const std::string& name) const;

  std::vector<uint8_t> read_bytes(const FileTensor& tensor) const;  // contiguous, own dtype, native byte order
  std::vector<float> read_floats(const FileTensor& tensor) const;   // from any real dtype
  void read_floats(const FileTensor& tensor, float* out) const;     // into memory for numel() floats

 private:
  void read_bytes(const FileTensor& tensor, uint8_t* out) const;

  TensorFileParts parts_;
  std::unordered_map<std::string, size_t> index_;
};

// Recognizes the container by its bytes, not by its name; Error that says what the file is when it cannot be read. The
// file is opened once and stays open as long as the TensorFile.
TensorFile open_tensor_file(const std::string& path);

}  // namespace coss
