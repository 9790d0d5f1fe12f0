// Protobuf's wire format: a key (field number and kind), then a varint, four bytes, or a length and bytes.
#include "formats/onnx_proto.h"

#include <cstring>

namespace coss::onnx {
namespace {

enum Wire : uint64_t { kVarint = 0, kLength = 2, kFixed32 = 5 };
enum DataType : int64_t { kFloat = 1, kInt64 = 7 };
enum AttributeType : int64_t { kTypeFloat = 1, kTypeInt = 2, kTypeInts = 7 };

template <class T>
Message tensor(const std::string& name, DataType type, const std::vector<int64_t>& shape,
               const std::vector<T>& values) {
  Message message;
  for (const int64_t size : shape) message.integer(1, size);  // dims
  message.integer(2, type).text(8, name);
  message.text(9, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});  // raw_data
  return message;
}

}  // namespace

void Message::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += char(value | 0x80);
  bytes_ += char(value);
}

Message& Message::integer(int field, int64_t value) {
  varint(uint64_t(field) << 3 | kVarint);
  varint(uint64_t(value));
  return *this;
}

Message& Message::real(int field, float value) {
  varint(uint64_t(field) << 3 | kFixed32);
  char raw[sizeof(value)];
  std::memcpy(raw, &value, sizeof(value));
  bytes_.append(raw, sizeof(raw));
  return *this;
}

Message& Message::text(int field, std::string_view value) {
  varint(uint64_t(field) << 3 | kLength);
  varint(value.size());
  bytes_ += value;
  return *this;
}

Message attribute(const std::string& name, int64_t value) {
  return Message().text(1, name).integer(3, value).integer(20, kTypeInt);
}

Message attribute(const std::string& name, float value) {
  return Message().text(1, name).real(2, value).integer(20, kTypeFloat);
}

Message attribute(const std::string& name, const std::vector<int64_t>& values) {
  Message message;
  message.text(1, name);
  for (const int64_t value : values) message.integer(8, value);
  return message.integer(20, kTypeInts);
}

Message floats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
  return tensor(name, kFloat, shape, values);
}

Message integers(const std::string& name, const std::vector<int64_t>& values) {
  return tensor(name, kInt64, {int64_t(values.size())}, values);
}

Message integer(const std::string& name, int64_t value) {
  return tensor(name, kInt64, {}, std::vector<int64_t>{value});
}

Message value_info(const std::string& name, const std::vector<int64_t>& shape) {
  Message dims;
  for (const int64_t size : shape) {
    Message dim;
    dims.text(1, size < 0 ? dim.text(2, "batch").bytes() : dim.integer(1, size).bytes());
  }
  const Message type = Message().integer(1, kFloat).text(2, dims.bytes());
  return Message().text(1, name).text(2, Message().text(1, type.bytes()).bytes());
}

}  // namespace coss::onnx
