// The container table, and gathering of strided views into row-major bytes.
#include "formats/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/check.h"
#include "formats/npz.h"
#include "formats/safetensors.h"
#include "formats/tar_archive.h"
#include "formats/torch_file.h"

namespace coss {
namespace {

bool row_major(const FileTensor& tensor) {
  int64_t expected = 1;
  for (size_t axis = tensor.shape.size(); axis-- > 0;) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

// The number of elements from the first to the last that a view touches.
int64_t span_of(const FileTensor& tensor) {
  int64_t last = 0;
  for (size_t axis = 0; axis < tensor.shape.size(); ++axis) last += (tensor.shape[axis] - 1) * tensor.strides[axis];
  return last + 1;
}

void gather(const FileTensor& tensor, const std::vector<uint8_t>& from, uint8_t* to) {
  const size_t width = size_t(size_of(tensor.dtype));
  const size_t rank = tensor.shape.size();
  std::vector<int64_t> index(rank, 0);
  int64_t element = 0;
  for (size_t at = 0; at < size_t(tensor.bytes()); at += width) {
    std::memcpy(to + at, from.data() + size_t(element) * width, width);
    for (size_t axis = rank; axis-- > 0;) {
      element += tensor.strides[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      element -= tensor.strides[axis] * tensor.shape[axis];
      index[axis] = 0;
    }
  }
}

TensorFileParts read_zip(std::shared_ptr<const FileBytes> file) {
  auto archive = std::make_shared<const ZipArchive>(std::move(file));
  return looks_like_npz(*archive) ? read_npz(std::move(archive)) : read_torch_zip(std::move(archive));
}

}  // namespace

int64_t FileTensor::numel() const {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  return count;
}

TensorFile::TensorFile(TensorFileParts parts) : parts_(std::move(parts)) {
  for (size_t i = 0; i < parts_.tensors.size(); ++i) {
    COSS_CHECK(index_.emplace(parts_.tensors[i].name, i).second,
               parts_.path + " has two tensors named '" + parts_.tensors[i].name + "'");
  }
}

const FileTensor* TensorFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &parts_.tensors[found->second];
}

void TensorFile::read_bytes(const FileTensor& tensor, uint8_t* out) const try {
  COSS_CHECK(tensor.unreadable.empty(),
             parts_.path + ": tensor '" + tensor.name + "' " + tensor.unreadable + ", which coss cannot read");
  if (tensor.numel() == 0) return;
  if (row_major(tensor)) {
    parts_.storages->read(tensor.storage, tensor.offset, out, tensor.bytes());
  } else {
    std::vector<uint8_t> span(size_t(span_of(tensor) * size_of(tensor.dtype)));
    parts_.storages->read(tensor.storage, tensor.offset, span.data(), int64_t(span.size()));
    gather(tensor, span, out);
  }
  if (parts_.storages->big_endian(tensor.storage)) swap_byte_order(out, tensor.bytes(), tensor.dtype);
} catch (const std::bad_alloc&) {
  throw Error(parts_.path + ": not enough memory for tensor '" + tensor.name + "' " + shape_text(tensor.shape));
}

std::vector<uint8_t> TensorFile::read_bytes(const FileTensor& tensor) const try {
  std::vector<uint8_t> out(tensor.unreadable.empty() ? size_t(tensor.bytes()) : 0);
  read_bytes(tensor, out.data());
  return out;
} catch (const std::bad_alloc&) {
  throw Error(parts_.path + ": not enough memory for tensor '" + tensor.name + "' " + shape_text(tensor.shape));
}

void TensorFile::read_floats(const FileTensor& tensor, float* out) const {
  if (tensor.dtype == FileDType::f32) return read_bytes(tensor, reinterpret_cast<uint8_t*>(out));
  const std::vector<uint8_t> bytes = read_bytes(tensor);
  floats_from(bytes.data(), tensor.numel(), tensor.dtype, parts_.path + ": tensor '" + tensor.name + "'", out);
}

std::vector<float> TensorFile::read_floats(const FileTensor& tensor) const {
  std::vector<float> out(size_t(tensor.numel()));
  read_floats(tensor, out.data());
  return out;
}

TensorFile open_tensor_file(const std::string& path) {
  const auto file = std::make_shared<const FileBytes>(path);
  struct Container {
    bool (*recognizes)(const FileBytes&);
    TensorFileParts (*read)(std::shared_ptr<const FileBytes>);
  };
  // The order matters: the bytes of all but the last are unmistakable.
  const Container containers[] = {
      {looks_like_zip, read_zip},        {looks_like_torch_legacy, read_torch_legacy}, {looks_like_tar, read_torch_tar},
      {looks_like_npy, read_npy_tensor}, {looks_like_safetensors, read_safetensors},
  };
  COSS_CHECK(file->size() > 0, path + " is empty");
  for (const Container& container : containers) {
    if (container.recognizes(*file)) return TensorFile(container.read(file));
  }
  throw Error(
      path +
      " is neither a safetensors file nor a PyTorch checkpoint nor a NumPy array (or it is truncated at the start)");
}

}  // namespace coss
