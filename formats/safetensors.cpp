// Reads the bytes after the header; writing aligns the data for readers.
#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "formats/atomic_file.h"
#include "formats/safetensors_header.h"

namespace coss {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLongestHeader = 100'000'000;  // the format's own limit

class OneRun : public StorageReader {
 public:
  OneRun(std::shared_ptr<const FileBytes> file, int64_t start) : file_(std::move(file)), start_(start) {}
  void read(int64_t, int64_t offset, uint8_t* out, int64_t bytes) const override {
    file_->read(start_ + offset, out, bytes);
  }
  bool big_endian(int64_t) const override { return false; }

 private:
  std::shared_ptr<const FileBytes> file_;
  int64_t start_;
};

int64_t header_length(const FileBytes& file) {
  const std::vector<uint8_t> bytes = file.head(8);
  const uint64_t length = little_endian(bytes.data(), int(bytes.size()));
  COSS_CHECK(bytes.size() == 8 && length <= uint64_t(kLongestHeader) && int64_t(length) <= file.size() - 8,
             file.path() + " is not a complete safetensors file: its header is said to have " + std::to_string(length) +
                 " bytes, the file has " + std::to_string(file.size()));
  return int64_t(length);
}

}  // namespace

bool looks_like_safetensors(const FileBytes& file) {
  const std::vector<uint8_t> bytes = file.head(9);
  return bytes.size() == 9 && bytes[8] == '{';
}

TensorFileParts read_safetensors(std::shared_ptr<const FileBytes> file) {
  const int64_t length = header_length(*file);
  std::string text(size_t(length), '\0');
  file->read(8, text.data(), length);
  SafetensorsHeader header = parse_safetensors_header(text, file->size() - 8 - length, file->path());

  TensorFileParts parts;
  parts.path = file->path();
  parts.container = "safetensors";
  parts.tensors = std::move(header.tensors);
  parts.metadata = std::move(header.metadata);
  parts.storages = std::make_shared<OneRun>(std::move(file), 8 + length);
  return parts;
}

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // The widest dtypes come first, so that each tensor is aligned to its own dtype.
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](const NamedTensor* a, const NamedTensor* b) { return size_of(a->dtype) > size_of(b->dtype); });

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const NamedTensor* tensor : order) {
    const std::string what = path + ": tensor '" + tensor->name + "'";
    COSS_CHECK(!header.contains(tensor->name), what + " is given twice");
    COSS_CHECK(
        checked_numel(tensor->shape, tensor->dtype, what) * size_of(tensor->dtype) == int64_t(tensor->bytes.size()),
        what + " has " + std::to_string(tensor->bytes.size()) + " bytes, not those of " + shape_text(tensor->shape));
    const int64_t end = offset + int64_t(tensor->bytes.size());
    header[tensor->name] = {
        {"dtype", safetensors_name(tensor->dtype)}, {"shape", tensor->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& error) {
    throw Error("cannot write " + path + ": a name or metadata text is not UTF-8 (" + error.what() + ")");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');

  AtomicFile file(path);
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = uint8_t(uint64_t(text.size()) >> (8 * i));
  file.write(length, sizeof(length));
  file.write(text);
  for (const NamedTensor* tensor : order) file.write(tensor->bytes.data(), tensor->bytes.size());
  file.commit();
}

}  // namespace coss
