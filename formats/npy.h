// NumPy's .npy: a short text header with dtype, order and shape, then the numbers.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "formats/atomic_file.h"
#include "formats/file_bytes.h"
#include "formats/file_dtype.h"

namespace coss {

struct NpyHeader {
  FileDType dtype = FileDType::f32;
  bool big_endian = false, fortran = false;
  std::vector<int64_t> shape;
  int64_t numel = 0, data_start = 0;
};

// The size of the header in bytes, from the first kNpyPrefix bytes (no .npy is shorter). Error that names `what` if
// they are no .npy header.
constexpr int64_t kNpyPrefix = 12;
int64_t npy_header_bytes(const std::vector<uint8_t>& head, const std::string& what);
// Reads the bytes of the header. The shape must need exactly the rest of the file, whose size is `size` bytes.
NpyHeader parse_npy_header(const std::vector<uint8_t>& bytes, int64_t size, const std::string& what);

struct NpyArray {
  FileDType dtype = FileDType::f32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;  // row-major, native byte order
};

// Reads versions 1 to 3, either byte order, C or Fortran order. The size is checked against the file's.
NpyArray read_npy(const std::string& path);
std::vector<float> read_npy_floats(const std::string& path, std::vector<int64_t>& shape);

// An open .npy of any size, read row by row (a row is one index of the first dimension). Fortran order is an Error.
class NpyFile {
 public:
  explicit NpyFile(const std::string& path);
  FileDType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t rows() const { return shape_.empty() ? 1 : shape_[0]; }
  int64_t row_size() const { return row_size_; }  // elements
  std::vector<uint8_t> read_rows(int64_t first, int64_t count) const;
  std::vector<float> read_float_rows(int64_t first, int64_t count) const;

 private:
  std::shared_ptr<const FileBytes> file_;
  FileDType dtype_ = FileDType::f32;
  std::vector<int64_t> shape_;
  int64_t row_size_ = 0, data_start_ = 0;
  bool big_endian_ = false;
};

void write_npy(const std::string& path, FileDType dtype, const std::vector<int64_t>& shape, const void* data);

// Writes an array piece by piece; the file appears under its name with finish().
class NpyWriter {
 public:
  NpyWriter(const std::string& path, FileDType dtype, const std::vector<int64_t>& shape);
  void append(const void* data, size_t bytes);
  // Error unless exactly the bytes of the shape were appended.
  void finish();

 private:
  AtomicFile file_;
  std::string path_;
  size_t expected_, written_ = 0;
};

}  // namespace coss
