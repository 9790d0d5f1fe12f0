// The header is a Python dictionary of three known keys; a small parser of exactly that reads it.
#include "formats/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>

namespace coss {
namespace {

constexpr int64_t kLongestHeader = 1 << 20;
constexpr size_t kMostDimensions = 32;

struct Format {
  const char* text;
  FileDType dtype;
};
constexpr Format kFormats[] = {
    {"f8", FileDType::f64}, {"f4", FileDType::f32},   {"f2", FileDType::f16}, {"i8", FileDType::i64},
    {"i4", FileDType::i32}, {"i2", FileDType::i16},   {"i1", FileDType::i8},  {"u8", FileDType::u64},
    {"u4", FileDType::u32}, {"u2", FileDType::u16},   {"u1", FileDType::u8},  {"b1", FileDType::boolean},
    {"c8", FileDType::c64}, {"c16", FileDType::c128},
};

class HeaderParser {
 public:
  HeaderParser(const std::string& text, const std::string& path) : text_(text), path_(path) {}

  NpyHeader parse() {
    NpyHeader header;
    int seen = 0;
    expect('{');
    while (peek() != '}') {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        parse_format(header);
        seen |= 1;
      } else if (key == "fortran_order") {
        header.fortran = boolean();
        seen |= 2;
      } else if (key == "shape") {
        header.shape = tuple();
        seen |= 4;
      } else {
        fail();
      }
      if (peek() == ',') ++at_;
    }
    if (seen != 7) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(path_ + ": the .npy header is corrupt or of a kind that coss cannot read");
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  void expect(char c) {
    if (peek() != c) fail();
    ++at_;
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail();
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string::npos) fail();
    const std::string out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    peek();
    for (const std::string word : {"True", "False"}) {
      if (text_.compare(at_, word.size(), word) != 0) continue;
      at_ += word.size();
      return word == "True";
    }
    fail();
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (peek() != ')') {
      int64_t value = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (error != std::errc() || out.size() >= kMostDimensions) fail();
      at_ += size_t(end - begin);
      out.push_back(value);
      if (peek() == 'L') ++at_;  // Python 2's long
      if (peek() == ',') {
        ++at_;
      } else if (peek() != ')') {
        fail();
      }
    }
    ++at_;
    return out;
  }
  void parse_format(NpyHeader& header) {
    if (peek() == '[') throw Error(path_ + ": a structured .npy array, of which coss reads none");
    const std::string text = quoted();
    const bool marked = !text.empty() && std::strchr("<>|=", text[0]);
    header.big_endian = marked && text[0] == '>';
    for (const Format& format : kFormats) {
      if (text.substr(marked ? 1 : 0) != format.text) continue;
      header.dtype = format.dtype;
      return;
    }
    throw Error(path_ + ": a .npy array of type '" + text + "', which coss cannot read");
  }

  const std::string& text_;
  const std::string& path_;
  size_t at_ = 0;
};

NpyHeader read_header(const FileBytes& file) {
  std::vector<uint8_t> head = file.head(kNpyPrefix);
  head = file.head(npy_header_bytes(head, file.path()));
  return parse_npy_header(head, file.size(), file.path());
}

std::vector<uint8_t> from_fortran(const std::vector<uint8_t>& in, const std::vector<int64_t>& shape, size_t width) {
  std::vector<uint8_t> out(in.size());
  std::vector<int64_t> index(shape.size(), 0), stride(shape.size(), 1);
  for (size_t axis = 1; axis < shape.size(); ++axis) stride[axis] = stride[axis - 1] * shape[axis - 1];
  int64_t element = 0;
  for (size_t at = 0; at < out.size(); at += width) {
    std::memcpy(out.data() + at, in.data() + size_t(element) * width, width);
    for (size_t axis = shape.size(); axis-- > 0;) {
      element += stride[axis];
      if (++index[axis] < shape[axis]) break;
      element -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

std::string header_text(FileDType dtype, const std::vector<int64_t>& shape) {
  const Format* known = std::find_if(std::begin(kFormats), std::end(kFormats),
                                     [&](const Format& format) { return format.dtype == dtype; });
  COSS_CHECK(known != std::end(kFormats), std::string(".npy cannot hold ") + name_of(dtype));
  std::string sizes;
  for (size_t axis = 0; axis < shape.size(); ++axis) sizes += (axis ? ", " : "") + std::to_string(shape[axis]);
  if (shape.size() == 1) sizes += ",";
  std::string text = std::string("{'descr': '") + (size_of(dtype) == 1 ? "|" : "<") + known->text +
                     "', 'fortran_order': False, 'shape': (" + sizes + "), }";
  // The numbers start at a multiple of 64 bytes: 10 bytes precede this text, and one newline ends it.
  text.resize((10 + text.size() + 1 + 63) / 64 * 64 - 11, ' ');
  text += '\n';
  const std::string length = {char(uint8_t(text.size())), char(uint8_t(text.size() >> 8))};
  return std::string("\x93NUMPY\1\0", 8) + length + text;
}

size_t bytes_of(FileDType dtype, const std::vector<int64_t>& shape, const std::string& path) {
  return size_t(checked_numel(shape, dtype, path) * size_of(dtype));
}

}  // namespace

int64_t npy_header_bytes(const std::vector<uint8_t>& head, const std::string& what) {
  COSS_CHECK(head.size() >= size_t(kNpyPrefix) && std::memcmp(head.data(), "\x93NUMPY", 6) == 0,
             what + " is not a .npy file");
  const int version = head[6];  // the minor version after it does not matter
  COSS_CHECK(version >= 1 && version <= 3, what + ": .npy version " + std::to_string(version) + " is not known");
  const int64_t length = version == 1 ? head[8] | head[9] << 8
                                      : int64_t(head[8] | head[9] << 8 | head[10] << 16 | uint32_t(head[11]) << 24);
  COSS_CHECK(length <= kLongestHeader, what + ": the .npy header is too long");
  return (version == 1 ? 10 : 12) + length;
}

NpyHeader parse_npy_header(const std::vector<uint8_t>& bytes, int64_t size, const std::string& what) {
  const int64_t start = npy_header_bytes(bytes, what);
  COSS_CHECK(start <= int64_t(bytes.size()), what + " is truncated: its header has " + std::to_string(start) +
                                                 " bytes, the file " + std::to_string(size));
  const std::string text(bytes.begin() + (bytes[6] == 1 ? 10 : 12), bytes.begin() + start);
  NpyHeader header = HeaderParser(text, what).parse();
  header.numel = checked_numel(header.shape, header.dtype, what);
  header.data_start = start;
  const int64_t needed = header.numel * size_of(header.dtype), left = size - start;
  COSS_CHECK(needed == left, what + " is truncated or corrupt: shape " + shape_text(header.shape) + " of " +
                                 name_of(header.dtype) + " needs " + std::to_string(needed) + " bytes, the file has " +
                                 std::to_string(left));
  return header;
}

NpyArray read_npy(const std::string& path) try {
  const FileBytes file(path);
  const NpyHeader header = read_header(file);
  NpyArray array{header.dtype, header.shape, {}};
  array.bytes.resize(size_t(header.numel * size_of(header.dtype)));
  file.read(header.data_start, array.bytes.data(), int64_t(array.bytes.size()));
  if (header.fortran) array.bytes = from_fortran(array.bytes, header.shape, size_t(size_of(header.dtype)));
  if (header.big_endian) swap_byte_order(array.bytes, header.dtype);
  return array;
} catch (const std::bad_alloc&) {
  throw Error(path + ": not enough memory to read it at once");
}

std::vector<float> read_npy_floats(const std::string& path, std::vector<int64_t>& shape) {
  NpyArray array = read_npy(path);
  shape = array.shape;
  return floats_from(array.bytes, array.dtype, path);
}

NpyFile::NpyFile(const std::string& path) : file_(std::make_shared<const FileBytes>(path)) {
  NpyHeader header = read_header(*file_);
  COSS_CHECK(!header.fortran || header.shape.size() < 2,
             path + " is in Fortran order, of which rows cannot be read: save numpy.ascontiguousarray of it");
  dtype_ = header.dtype;
  shape_ = std::move(header.shape);
  big_endian_ = header.big_endian;
  data_start_ = header.data_start;
  row_size_ = shape_.empty() ? 1 : checked_numel({shape_.begin() + 1, shape_.end()}, dtype_, path);
}

std::vector<uint8_t> NpyFile::read_rows(int64_t first, int64_t count) const {
  COSS_CHECK(first >= 0 && count >= 0 && first <= rows() && count <= rows() - first,
             file_->path() + ": " + std::to_string(count) + " rows are wanted from row " + std::to_string(first) +
                 " of " + std::to_string(rows()));
  const int64_t row_bytes = row_size_ * size_of(dtype_);
  std::vector<uint8_t> out(size_t(count * row_bytes));
  file_->read(data_start_ + first * row_bytes, out.data(), int64_t(out.size()));
  if (big_endian_) swap_byte_order(out, dtype_);
  return out;
}

std::vector<float> NpyFile::read_float_rows(int64_t first, int64_t count) const {
  return floats_from(read_rows(first, count), dtype_, file_->path());
}

void write_npy(const std::string& path, FileDType dtype, const std::vector<int64_t>& shape, const void* data) {
  NpyWriter writer(path, dtype, shape);
  writer.append(data, bytes_of(dtype, shape, path));
  writer.finish();
}

NpyWriter::NpyWriter(const std::string& path, FileDType dtype, const std::vector<int64_t>& shape)
    : file_(path), path_(path), expected_(bytes_of(dtype, shape, path)) {
  file_.write(header_text(dtype, shape));
}

void NpyWriter::append(const void* data, size_t bytes) {
  file_.write(data, bytes);
  written_ += bytes;
}

void NpyWriter::finish() {
  COSS_CHECK(written_ == expected_, path_ + ": " + std::to_string(written_) + " bytes were written, its shape needs " +
                                        std::to_string(expected_));
  file_.commit();
}

}  // namespace coss
