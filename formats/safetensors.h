// safetensors: an 8-byte length, a JSON header with dtype, shape and byte range of every tensor, then the bytes.
#pragma once
#include "formats/file_bytes.h"
#include "formats/tensor_file.h"

namespace coss {

struct NamedTensor {
  std::string name;
  FileDType dtype = FileDType::f32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

// Writes through AtomicFile: the file is complete or does not exist.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

// True when the first bytes can be a safetensors header.
bool looks_like_safetensors(const FileBytes& file);
TensorFileParts read_safetensors(std::shared_ptr<const FileBytes> file);

}  // namespace coss
