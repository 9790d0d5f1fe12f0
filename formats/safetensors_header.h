// The JSON header of a safetensors file: read in one pass, in time and memory that grow with its length only.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "formats/tensor_file.h"

namespace coss {

struct SafetensorsHeader {
  std::vector<FileTensor> tensors;  // in the order of the data; offsets are from the data's first byte
  std::map<std::string, std::string> metadata;
};

// `text` is the header, `data_bytes` the size of the data after it, `path` the file name for errors. The tensors must
// fill the data without gaps or overlaps. Error when the text is no such header or has impossible values.
SafetensorsHeader parse_safetensors_header(const std::string& text, int64_t data_bytes, const std::string& path);

// The name of a dtype, "F32"; Error when safetensors has none for it.
const char* safetensors_name(FileDType dtype);

}  // namespace coss
