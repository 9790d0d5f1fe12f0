// A header has a fixed form, so it is read token by token; a tree of the whole JSON would take many times its memory.
// The JSON library reads texts with escapes or letters outside ASCII.
#include "formats/safetensors_header.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/check.h"

namespace coss {
namespace {

using Json = nlohmann::json;

constexpr int kDeepestValue = 8;
constexpr size_t kMostHeaderTensors = 2'000'000;
constexpr size_t kMostHeaderDims = 32;

struct DTypeName {
  const char* text;
  FileDType dtype;
};
constexpr DTypeName kDTypes[] = {
    {"F64", FileDType::f64},      {"F32", FileDType::f32},         {"F16", FileDType::f16},
    {"BF16", FileDType::bf16},    {"F8_E4M3", FileDType::f8_e4m3}, {"F8_E5M2", FileDType::f8_e5m2},
    {"I64", FileDType::i64},      {"I32", FileDType::i32},         {"I16", FileDType::i16},
    {"I8", FileDType::i8},        {"U64", FileDType::u64},         {"U32", FileDType::u32},
    {"U16", FileDType::u16},      {"U8", FileDType::u8},           {"C64", FileDType::c64},
    {"BOOL", FileDType::boolean},
};

class HeaderReader {
 public:
  HeaderReader(const std::string& text, int64_t data_bytes, const std::string& path)
      : text_(text), data_bytes_(data_bytes), path_(path) {}

  SafetensorsHeader read();

 private:
  struct Entry {
    FileTensor tensor;
    int64_t end = 0;  // end of the tensor's bytes
  };

  template <class Read>
  void each_member(Read read);
  Entry tensor(const std::string& name);
  std::vector<int64_t> whole_numbers(size_t most, const std::string& what);
  std::string string();
  void skip_value(int depth = 0);

  char next();
  void expect(char wanted);
  [[noreturn]] void fail(const std::string& what) const { throw Error(path_ + ": " + what); }
  [[noreturn]] void not_json() const {
    fail("the safetensors header is not valid JSON (at its byte " + std::to_string(at_) + ")");
  }

  const std::string& text_;
  size_t at_ = 0;
  const int64_t data_bytes_;
  const std::string& path_;
};

// Returns the next character that is no space, without consuming it.
char HeaderReader::next() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

void HeaderReader::expect(char wanted) {
  if (next() != wanted) not_json();
  ++at_;
}

// Calls read(name) for each member of an object; it reads the value.
template <class Read>
void HeaderReader::each_member(Read read) {
  expect('{');
  if (next() != '}') {
    for (;;) {
      const std::string name = string();
      expect(':');
      read(name);
      if (next() != ',') break;
      ++at_;
    }
  }
  expect('}');
}

std::string HeaderReader::string() {
  expect('"');
  const size_t begin = at_;
  bool plain = true;
  for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    const uint8_t byte = uint8_t(text_[at_]);
    plain = plain && byte >= 0x20 && byte < 0x80 && byte != '\\';
    if (byte == '\\') ++at_;
  }
  if (at_ >= text_.size()) not_json();
  const size_t end = at_++;
  if (plain) return text_.substr(begin, end - begin);
  try {
    return Json::parse(text_.begin() + std::ptrdiff_t(begin) - 1, text_.begin() + std::ptrdiff_t(end) + 1);
  } catch (const Json::exception&) {
    not_json();
  }
}

// Skips a value that is not needed.
void HeaderReader::skip_value(int depth) {
  if (depth > kDeepestValue) fail("the safetensors header is nested too deeply");
  const char first = next();
  if (first == '{') return each_member([&](const std::string&) { skip_value(depth + 1); });
  if (first == '"') return void(string());
  if (first == '[') {
    ++at_;
    if (next() != ']') {
      for (skip_value(depth + 1); next() == ','; skip_value(depth + 1)) ++at_;
    }
    return expect(']');
  }
  const size_t begin = at_;
  while (at_ < text_.size() && (std::isalnum(uint8_t(text_[at_])) || std::strchr("+-.", text_[at_]))) ++at_;
  if (!Json::accept(text_.begin() + std::ptrdiff_t(begin), text_.begin() + std::ptrdiff_t(at_))) not_json();
}

std::vector<int64_t> HeaderReader::whole_numbers(size_t most, const std::string& what) {
  std::vector<int64_t> numbers;
  expect('[');
  if (next() == ']') return ++at_, numbers;
  for (;;) {
    next();
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    at_ = size_t(end - text_.data());
    const char after = next();
    if (error != std::errc() || value > uint64_t(INT64_MAX) || (after != ',' && after != ']'))
      fail(what + " has a size or offset that is not a whole number");
    if (numbers.size() == most) fail(what + " has more than " + std::to_string(most) + " dimensions");
    numbers.push_back(int64_t(value));
    ++at_;
    if (after == ']') return numbers;
  }
}

HeaderReader::Entry HeaderReader::tensor(const std::string& name) {
  const std::string what = "tensor '" + name + "'";
  Entry entry;
  FileTensor& tensor = entry.tensor;
  tensor.name = name;
  std::string dtype;
  std::vector<int64_t> range;
  bool has_shape = false;
  if (next() != '{') {
    skip_value();
    fail(what + " lacks its dtype, shape or data_offsets");
  }
  each_member([&](const std::string& key) {
    const char first = next();
    if ((key == "dtype" && !dtype.empty()) || (key == "shape" && has_shape) ||
        (key == "data_offsets" && !range.empty()))
      fail("the safetensors header has two entries named '" + key + "'");
    if (key == "dtype" && first == '"') {
      dtype = string();
    } else if (key == "shape" && first == '[') {
      tensor.shape = whole_numbers(kMostHeaderDims, path_ + ": " + what);
      has_shape = true;
    } else if (key == "data_offsets" && first == '[') {
      range = whole_numbers(2, path_ + ": " + what);
    } else {
      skip_value();
    }
  });
  if (dtype.empty() || !has_shape || range.size() != 2) fail(what + " lacks its dtype, shape or data_offsets");

  tensor.offset = range[0];
  entry.end = range[1];
  if (tensor.offset > entry.end || entry.end > data_bytes_)
    fail(what + " lies outside the file (it may be truncated): bytes " + std::to_string(tensor.offset) + " to " +
         std::to_string(entry.end) + " of " + std::to_string(data_bytes_));
  const auto known =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeName& row) { return dtype == row.text; });
  if (known == std::end(kDTypes)) {
    tensor.dtype = FileDType::u8;
    tensor.unreadable = "has the dtype " + dtype;
    checked_numel(tensor.shape, tensor.dtype, path_ + ": " + what);
  } else {
    tensor.dtype = known->dtype;
    const int64_t bytes = checked_numel(tensor.shape, tensor.dtype, path_ + ": " + what) * size_of(tensor.dtype);
    if (entry.end - tensor.offset != bytes)
      fail(what + " has " + std::to_string(entry.end - tensor.offset) + " bytes, its shape " +
           shape_text(tensor.shape) + " needs " + std::to_string(bytes));
  }
  tensor.strides.resize(tensor.shape.size());
  int64_t stride = 1;
  for (size_t axis = tensor.shape.size(); axis-- > 0;) {
    tensor.strides[axis] = stride;
    stride *= std::max<int64_t>(tensor.shape[axis], 1);
  }
  return entry;
}

SafetensorsHeader HeaderReader::read() {
  if (next() != '{') fail("the safetensors header is not an object");
  SafetensorsHeader header;
  std::vector<Entry> entries;
  each_member([&](const std::string& name) {
    if (name != "__metadata__") {
      if (entries.size() == kMostHeaderTensors) fail("the safetensors header has too many tensors");
      return entries.push_back(tensor(name));
    }
    if (next() != '{') fail("__metadata__ is not an object");
    each_member([&](const std::string& key) {
      if (next() != '"') fail("__metadata__ '" + key + "' is not a string");
      if (!header.metadata.emplace(key, string()).second) fail("__metadata__ has two entries named '" + key + "'");
    });
  });
  next();
  if (at_ != text_.size()) not_json();

  // The data has the order of the model that wrote it; the header may have another order.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.tensor.offset != b.tensor.offset ? a.tensor.offset < b.tensor.offset : a.end < b.end;
  });
  int64_t end = 0;
  for (Entry& entry : entries) {
    if (entry.tensor.offset < end) fail("tensor '" + entry.tensor.name + "' overlaps another one");
    if (entry.tensor.offset > end) fail("unused bytes before tensor '" + entry.tensor.name + "'");
    end = entry.end;
    header.tensors.push_back(std::move(entry.tensor));
  }
  if (end != data_bytes_) fail(std::to_string(data_bytes_ - end) + " unused bytes after the last tensor");
  return header;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& text, int64_t data_bytes, const std::string& path) {
  return HeaderReader(text, data_bytes, path).read();
}

const char* safetensors_name(FileDType dtype) {
  for (const DTypeName& known : kDTypes) {
    if (dtype == known.dtype) return known.text;
  }
  throw Error(std::string("safetensors cannot hold ") + name_of(dtype));
}

}  // namespace coss
