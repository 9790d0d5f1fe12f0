// Reading checks every length, range and overlap; writing aligns the data for readers.
#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "formats/atomic_file.h"

namespace coss {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr int kDeepestHeader = 8;                // a header has three levels

struct DTypeName {
  const char* text;
  FileDType dtype;
};
constexpr DTypeName kDTypes[] = {
    {"F64", FileDType::f64}, {"F32", FileDType::f32},      {"F16", FileDType::f16}, {"BF16", FileDType::bf16},
    {"I64", FileDType::i64}, {"I32", FileDType::i32},      {"I16", FileDType::i16}, {"I8", FileDType::i8},
    {"U64", FileDType::u64}, {"U32", FileDType::u32},      {"U16", FileDType::u16}, {"U8", FileDType::u8},
    {"C64", FileDType::c64}, {"BOOL", FileDType::boolean},
};

FileDType parse_file_dtype(const std::string& text, const std::string& what) {
  for (const DTypeName& known : kDTypes) {
    if (text == known.text) return known.dtype;
  }
  throw Error(what + " has the dtype " + text + ", which coss cannot read");
}

const char* safetensors_name(FileDType dtype) {
  for (const DTypeName& known : kDTypes) {
    if (dtype == known.dtype) return known.text;
  }
  throw Error(std::string("safetensors cannot hold ") + name_of(dtype));
}

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
  uint64_t length = 0;
  for (size_t i = 0; i < bytes.size(); ++i) length |= uint64_t(bytes[i]) << (8 * i);
  COSS_CHECK(bytes.size() == 8 && length <= uint64_t(kLongestHeader) && int64_t(length) <= file.size() - 8,
             file.path() + " is not a complete safetensors file: its header is said to have " + std::to_string(length) +
                 " bytes, the file has " + std::to_string(file.size()));
  return int64_t(length);
}

// The parsed JSON no longer shows duplicate keys, and depth costs stack: both are checked while parsing.
Json parse_header(const std::string& text, const std::string& path) {
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    COSS_CHECK(depth <= kDeepestHeader, path + ": the safetensors header is nested too deeply");
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end && !open.empty()) open.pop_back();
    if (event == Json::parse_event_t::key && !open.empty()) {
      const auto& name = value.get_ref<const std::string&>();
      COSS_CHECK(open.back().insert(name).second,
                 path + ": the safetensors header has two entries named '" + name + "'");
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw Error(path + ": the safetensors header is not valid JSON (" + error.what() + ")");
  }
}

int64_t whole_number(const Json& value, const std::string& what) {
  COSS_CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t(INT64_MAX),
             what + " has a size or offset that is not a whole number");
  return value.get<int64_t>();
}

FileTensor parse_tensor(const std::string& name, const Json& entry, int64_t data_bytes, const std::string& path) {
  const std::string what = path + ": tensor '" + name + "'";
  COSS_CHECK(entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() && entry.contains("shape") &&
                 entry["shape"].is_array() && entry.contains("data_offsets") && entry["data_offsets"].is_array() &&
                 entry["data_offsets"].size() == 2,
             what + " lacks its dtype, shape or data_offsets");
  FileTensor tensor;
  tensor.name = name;
  tensor.dtype = parse_file_dtype(entry["dtype"].get<std::string>(), what);
  for (const Json& dim : entry["shape"]) tensor.shape.push_back(whole_number(dim, what));
  const int64_t bytes = checked_numel(tensor.shape, tensor.dtype, what) * size_of(tensor.dtype);
  tensor.strides.resize(tensor.shape.size());
  int64_t stride = 1;
  for (size_t axis = tensor.shape.size(); axis-- > 0;) {
    tensor.strides[axis] = stride;
    stride *= std::max<int64_t>(tensor.shape[axis], 1);
  }
  tensor.offset = whole_number(entry["data_offsets"][0], what);
  const int64_t end = whole_number(entry["data_offsets"][1], what);
  COSS_CHECK(tensor.offset <= end && end <= data_bytes, what + " lies outside the file (it may be truncated): bytes " +
                                                            std::to_string(tensor.offset) + " to " +
                                                            std::to_string(end) + " of " + std::to_string(data_bytes));
  COSS_CHECK(end - tensor.offset == bytes, what + " has " + std::to_string(end - tensor.offset) + " bytes, its shape " +
                                               shape_text(tensor.shape) + " needs " + std::to_string(bytes));
  return tensor;
}

// Checks that the tensors fill the data from its first byte to its last.
void check_cover(const std::vector<FileTensor>& tensors, int64_t data_bytes, const std::string& path) {
  std::vector<const FileTensor*> order;
  for (const FileTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const FileTensor* a, const FileTensor* b) {
    return a->offset != b->offset ? a->offset < b->offset : a->bytes() < b->bytes();
  });
  int64_t end = 0;
  for (const FileTensor* tensor : order) {
    COSS_CHECK(tensor->offset >= end, path + ": tensor '" + tensor->name + "' overlaps another one");
    COSS_CHECK(tensor->offset == end, path + ": unused bytes before tensor '" + tensor->name + "'");
    end += tensor->bytes();
  }
  COSS_CHECK(end == data_bytes, path + ": " + std::to_string(data_bytes - end) + " unused bytes after the last tensor");
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
  const Json header = parse_header(text, file->path());
  COSS_CHECK(header.is_object(), file->path() + ": the safetensors header is not an object");

  TensorFileParts parts;
  parts.path = file->path();
  parts.container = "safetensors";
  const int64_t data_bytes = file->size() - 8 - length;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      parts.tensors.push_back(parse_tensor(name, entry, data_bytes, parts.path));
      continue;
    }
    COSS_CHECK(entry.is_object(), parts.path + ": __metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      COSS_CHECK(value.is_string(), parts.path + ": __metadata__ '" + key + "' is not a string");
      parts.metadata[key] = value.get<std::string>();
    }
  }
  check_cover(parts.tensors, data_bytes, parts.path);
  // The JSON is sorted by name; the data has the order of the model that wrote it.
  std::stable_sort(parts.tensors.begin(), parts.tensors.end(),
                   [](const FileTensor& a, const FileTensor& b) { return a.offset < b.offset; });
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
