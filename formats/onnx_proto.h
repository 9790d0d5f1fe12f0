// The few messages of ONNX's protobuf that a network needs, as bytes (https://protobuf.dev/programming-guides/encoding,
// field numbers of onnx.proto, IR version 8).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coss::onnx {

// A message under construction.
class Message {
 public:
  Message& integer(int field, int64_t value);
  Message& real(int field, float value);
  Message& text(int field, std::string_view value);  // also a sub-message or bytes
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);
  std::string bytes_;
};

// An attribute of a node.
Message attribute(const std::string& name, int64_t value);
Message attribute(const std::string& name, float value);
Message attribute(const std::string& name, const std::vector<int64_t>& values);

// A constant tensor.
Message floats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values);
Message integers(const std::string& name, const std::vector<int64_t>& values);
Message integer(const std::string& name, int64_t value);  // an integer constant of rank 0

// An input or output of the graph, in f32; -1 is the batch.
Message value_info(const std::string& name, const std::vector<int64_t>& shape);

}  // namespace coss::onnx
