// Each node of the graph becomes one or a few nodes of ONNX. Images are (N,H,W,C) here and (N,C,H,W) in ONNX;
// everything else has the same shape in both.
#include "formats/onnx_writer.h"

#include <cmath>
#include <unordered_map>

#include "engine/check.h"
#include "formats/atomic_file.h"
#include "formats/onnx_proto.h"

namespace coss {
namespace {

using onnx::attribute;
using onnx::Message;
using Ints = std::vector<int64_t>;

class Builder {
 public:
  Builder(const Graph& graph, const Tensor& images) {
    values_[images.raw()] = {"images", images.shape()};
    for (const GraphNode& step : graph.nodes()) {
      std::visit([&](const auto& kind) { finish(step, build(kind, step)); }, step.kind);
    }
  }

  bool made(const Tensor& tensor) const { return values_.count(tensor.raw()) > 0; }
  // Renames a result: ONNX's outputs are named values.
  void output(const Tensor& tensor, const std::string& name) { emit_to(name, "Identity", {use(tensor)}, {}); }
  const std::string& nodes() const { return nodes_; }  // fields of a GraphProto
  const std::string& constants() const { return constants_; }

 private:
  struct Value {
    std::string name;
    Shape shape;  // shape of the tensor in the node that made it
  };

  static bool is_image(const Shape& shape) { return shape.rank == 4; }

  void emit_to(const std::string& to, const std::string& type, const std::vector<std::string>& inputs,
               const std::vector<Message>& attributes) {
    Message message;
    for (const std::string& input : inputs) message.text(1, input);
    message.text(2, to).text(3, to + "/" + type).text(4, type);
    for (const Message& one : attributes) message.text(5, one.bytes());
    nodes_ += Message().text(1, message.bytes()).bytes();
  }
  std::string emit(const std::string& type, const std::vector<std::string>& inputs,
                   const std::vector<Message>& attributes = {}) {
    std::string name = "t" + std::to_string(next_++);
    emit_to(name, type, inputs, attributes);
    return name;
  }
  std::string keep(const std::string& name, const Message& tensor) {
    constants_ += Message().text(5, tensor.bytes()).bytes();
    return name;
  }
  std::string integers(const Ints& values) {
    const std::string name = "i" + std::to_string(next_++);
    return keep(name, onnx::integers(name, values));
  }
  std::string floats(const Ints& shape, const std::vector<float>& values) {
    const std::string name = "w" + std::to_string(next_++);
    return keep(name, onnx::floats(name, shape, values));
  }
  std::string number(float value) { return floats({}, {value}); }
  std::string constant(const Tensor& tensor) {
    const Shape& s = tensor.shape();
    return floats({s.dims.begin(), s.dims.begin() + s.rank}, tensor.to_vector<float>());
  }
  std::string reshape(const std::string& x, const Ints& shape) { return emit("Reshape", {x, integers(shape)}); }
  std::string transpose(const std::string& x, const Ints& order) {
    return emit("Transpose", {x}, {attribute("perm", order)});
  }

  // The name of an input in the form that its user needs: an image that is used as rows of pixels has its channels
  // last.
  std::string use(const Tensor& tensor) {
    const auto found = values_.find(tensor.raw());
    if (found == values_.end()) return constant(tensor);
    const Value& value = found->second;
    if (value.shape == tensor.shape()) return value.name;
    COSS_CHECK(!is_image(tensor.shape()), "this network cannot be written as ONNX: it sees rows as images");
    const std::string rows = is_image(value.shape) ? transpose(value.name, {0, 2, 3, 1}) : value.name;
    Ints shape{-1};
    for (int axis = 1; axis < tensor.shape().rank; ++axis) shape.push_back(tensor.shape()[axis]);
    return reshape(rows, shape);
  }
  void finish(const GraphNode& step, const std::string& name) {
    values_[step.output.raw()] = {name, step.output.shape()};
  }

  std::string activated(Activation kind, const std::string& x) {
    switch (kind) {
      case Activation::none:
        return x;
      case Activation::relu:
        return emit("Relu", {x});
      case Activation::relu6:
        return emit("Clip", {x, number(0), number(6)});
      case Activation::silu:
        return emit("Mul", {x, emit("Sigmoid", {x})});
      case Activation::hardswish:
        return emit("HardSwish", {x});
      case Activation::sigmoid:
        return emit("Sigmoid", {x});
      case Activation::hardsigmoid:
        return emit("HardSigmoid", {x}, {attribute("alpha", 1.0f / 6), attribute("beta", 0.5f)});
      case Activation::gelu: {
        const std::string phi = emit("Erf", {emit("Mul", {x, number(std::sqrt(0.5f))})});
        return emit("Mul", {emit("Mul", {x, number(0.5f)}), emit("Add", {phi, number(1)})});
      }
      case Activation::quick_gelu:
        return emit("Mul", {x, emit("Sigmoid", {emit("Mul", {x, number(1.702f)})})});
    }
    COSS_ASSERT(false);
    return x;
  }

  // (K,R,S,C) -> OIHW, or (R,S,C) -> (C,1,R,S)
  std::string conv_weight(const Tensor& w, bool depthwise) {
    const std::vector<float> from = w.to_vector<float>();
    const Shape& s = w.shape();
    const int64_t k = depthwise ? 1 : s[0], r = s[depthwise ? 0 : 1], q = s[depthwise ? 1 : 2], c = s.back();
    std::vector<float> to(from.size());
    size_t at = 0;
    for (int64_t i = 0; i < k; ++i)
      for (int64_t tap = 0; tap < r * q; ++tap)
        for (int64_t j = 0; j < c; ++j) to[size_t((i * c + j) * r * q + tap)] = from[at++];
    return floats(depthwise ? Ints{c, 1, r, q} : Ints{k, c, r, q}, to);
  }

  std::string build(const node::Conv& conv, const GraphNode& step) {
    const ConvParams& p = conv.params;
    const Shape &x = step.inputs[0].shape(), &w = step.inputs[1].shape();
    const int64_t r = w[p.depthwise ? 0 : 1], s = w[p.depthwise ? 1 : 2];
    const Ints pads{p.pad_before(x[1], r), p.pad_before(x[2], s), p.pad_behind(x[1], r), p.pad_behind(x[2], s)};
    std::string y =
        emit("Conv", {use(step.inputs[0]), conv_weight(step.inputs[1], p.depthwise), constant(step.inputs[2])},
             {attribute("pads", pads), attribute("strides", {p.stride, p.stride}),
              attribute("dilations", {p.dilation, p.dilation}), attribute("group", p.depthwise ? x[3] : p.groups)});
    if (!step.inputs[3].empty()) y = emit("Add", {y, use(step.inputs[3])});
    return activated(conv.activation, y);
  }
  std::string build(const node::Linear& linear, const GraphNode& step) {
    const Tensor& bias = step.inputs[2];
    std::string y = emit("MatMul", {use(step.inputs[0]), transpose(use(step.inputs[1]), {1, 0})});
    if (!bias.empty()) y = emit("Add", {y, use(bias)});
    return activated(linear.activation, y);
  }
  std::string build(const node::Act& act, const GraphNode& step) {
    return activated(act.activation, use(step.inputs[0]));
  }
  std::string build(const node::Add&, const GraphNode& step) {
    return emit("Add", {use(step.inputs[0]), use(step.inputs[1])});
  }
  static std::vector<Message> pooling(const PoolParams& p) {
    return {attribute("ceil_mode", int64_t(p.ceil)), attribute("kernel_shape", {p.window, p.window}),
            attribute("strides", {p.stride, p.stride}), attribute("pads", {p.pad, p.pad, p.pad, p.pad})};
  }
  std::string build(const node::MaxPool& pool, const GraphNode& step) {
    return emit("MaxPool", {use(step.inputs[0])}, pooling(pool.params));
  }
  std::string build(const node::AvgPool& pool, const GraphNode& step) {
    std::vector<Message> attributes = pooling(pool.params);
    attributes.push_back(attribute("count_include_pad", int64_t(1)));
    return emit("AveragePool", {use(step.inputs[0])}, attributes);
  }
  std::string build(const node::MeanHw&, const GraphNode& step) {
    return emit("Flatten", {emit("GlobalAveragePool", {use(step.inputs[0])})});
  }
  std::string build(const node::ShortcutA& cut, const GraphNode& step) {
    const Shape& x = step.inputs[0].shape();
    const std::string rows = emit("Slice", {use(step.inputs[0]), integers({0, 0}), integers({x[1], x[2]}),
                                            integers({2, 3}), integers({cut.stride, cut.stride})});
    const int64_t behind = step.output.shape()[3] - x[3] - cut.before;
    return emit("Pad", {rows, integers({0, cut.before, 0, 0, 0, behind, 0, 0})});
  }
  std::string build(const node::ScaleChannels&, const GraphNode& step) {
    return emit("Mul", {use(step.inputs[0]), emit("Unsqueeze", {use(step.inputs[1]), integers({2, 3})})});
  }
  // The axis of the channels in ONNX.
  static int64_t channels(const Shape& shape) { return is_image(shape) ? 1 : shape.rank - 1; }
  std::string build(const node::SliceChannels& slice, const GraphNode& step) {
    const Shape& y = step.output.shape();
    return emit("Slice", {use(step.inputs[0]), integers({slice.first}), integers({slice.first + y.back()}),
                          integers({channels(y)})});
  }
  std::string build(const node::ConcatChannels&, const GraphNode& step) {
    std::vector<std::string> parts;
    for (const Tensor& part : step.inputs) parts.push_back(use(part));
    return emit("Concat", parts, {attribute("axis", channels(step.output.shape()))});
  }
  std::string build(const node::ShuffleChannels& shuffle, const GraphNode& step) {
    const Shape& y = step.output.shape();
    const int64_t g = shuffle.groups, n = y.back() / g;
    if (!is_image(y)) {
      const std::string mixed = transpose(reshape(use(step.inputs[0]), {-1, g, n}), {0, 2, 1});
      return reshape(mixed, {-1, y.back()});
    }
    const std::string mixed = transpose(reshape(use(step.inputs[0]), {-1, g, n, y[1], y[2]}), {0, 2, 1, 3, 4});
    return reshape(mixed, {-1, y[3], y[1], y[2]});
  }
  std::string build(const node::LayerNorm& norm, const GraphNode& step) {
    return emit("LayerNormalization", {use(step.inputs[0]), use(step.inputs[1]), use(step.inputs[2])},
                {attribute("axis", int64_t(-1)), attribute("epsilon", norm.eps)});
  }
  std::string build(const node::NormalizeRows& norm, const GraphNode& step) {
    const std::string x = use(step.inputs[0]);
    const std::string length = emit("ReduceL2", {x}, {attribute("axes", Ints{-1}), attribute("keepdims", int64_t(1))});
    return emit("Div", {x, emit("Max", {length, number(norm.eps)})});
  }
  std::string build(const node::Attention& attention, const GraphNode& step) {
    const Shape& s = step.inputs[0].shape();
    const int64_t heads = attention.params.heads, tokens = s[1], wide = s[2] / 3, one = wide / heads;
    const int64_t asking = attention.params.queries > 0 ? attention.params.queries : tokens;
    const std::string parts =
        transpose(reshape(use(step.inputs[0]), {-1, tokens, 3, heads, one}), {2, 0, 3, 1, 4});  // (3,N,heads,T,one)
    const auto part = [&](int64_t index, int64_t rows) {
      const std::string all = emit("Gather", {parts, keep_scalar(index)}, {attribute("axis", int64_t(0))});
      return rows == tokens ? all : emit("Slice", {all, integers({0}), integers({rows}), integers({2})});
    };
    const std::string q = emit("Mul", {part(0, asking), number(1 / std::sqrt(float(one)))});
    const std::string scores = emit("MatMul", {q, transpose(part(1, tokens), {0, 1, 3, 2})});
    const std::string y =
        emit("MatMul", {emit("Softmax", {scores}, {attribute("axis", int64_t(-1))}), part(2, tokens)});
    return reshape(transpose(y, {0, 2, 1, 3}), {-1, asking, wide});
  }
  std::string keep_scalar(int64_t value) {
    const std::string name = "i" + std::to_string(next_++);
    return keep(name, onnx::integer(name, value));
  }
  std::string build(const node::Patches& patches, const GraphNode& step) {
    const Shape& x = step.inputs[0].shape();
    const int64_t size = patches.size, rows = x[1] / size, columns = x[2] / size;
    const std::string cut = reshape(use(step.inputs[0]), {-1, x[3], rows, size, columns, size});
    return reshape(transpose(cut, {0, 2, 4, 3, 5, 1}), {-1, rows * columns, size * size * x[3]});
  }
  std::string build(const node::JoinTokens&, const GraphNode& step) {
    const Tensor& first = step.inputs[0];
    const int64_t wide = step.output.shape()[2];
    std::string x = use(step.inputs[1]);
    if (!first.empty()) {
      std::string token;
      if (made(first)) {
        token = emit("Unsqueeze", {use(first), integers({1})});
      } else {
        const std::string batch = emit("Slice", {emit("Shape", {x}), integers({0}), integers({1})});
        token = emit("Expand", {floats({1, 1, wide}, first.to_vector<float>()),
                                emit("Concat", {batch, integers({1, wide})}, {attribute("axis", int64_t(0))})});
      }
      x = emit("Concat", {token, x}, {attribute("axis", int64_t(1))});
    }
    return emit("Add", {x, use(step.inputs[2])});
  }
  std::string build(const node::MeanTokens& mean, const GraphNode& step) {
    const std::string some = emit(
        "Slice", {use(step.inputs[0]), integers({mean.first}), integers({mean.first + mean.count}), integers({1})});
    return emit("ReduceMean", {some}, {attribute("axes", Ints{1}), attribute("keepdims", int64_t(0))});
  }

  std::unordered_map<const void*, Value> values_;
  std::string nodes_, constants_;
  int64_t next_ = 0;
};

}  // namespace

void write_onnx(const std::string& path, const Graph& graph, const Tensor& images,
                const std::vector<OnnxOutput>& outputs, const std::map<std::string, std::string>& metadata) {
  constexpr int64_t kIrVersion = 8, kOpset = 17;
  Builder builder(graph, images);
  for (const OnnxOutput& output : outputs) {
    COSS_CHECK(builder.made(output.value), path + ": '" + output.name + "' is not computed from the images");
    builder.output(output.value, output.name);
  }
  std::string body = builder.nodes() + Message().text(2, "coss").bytes() + builder.constants();
  const Shape& size = images.shape();
  body += Message().text(11, onnx::value_info("images", {-1, size[3], size[1], size[2]}).bytes()).bytes();
  for (const OnnxOutput& output : outputs) {
    Ints shape{-1};
    for (int axis = 1; axis < output.value.shape().rank; ++axis) shape.push_back(output.value.shape()[axis]);
    body += Message().text(12, onnx::value_info(output.name, shape).bytes()).bytes();
  }
  COSS_CHECK(body.size() < size_t(1) << 31, path + ": a network of this size does not fit an ONNX file (2 GiB)");
  Message model;
  model.integer(1, kIrVersion).text(2, "coss").text(7, body);
  model.text(8, Message().integer(2, kOpset).bytes());
  for (const auto& [key, value] : metadata) model.text(14, Message().text(1, key).text(2, value).bytes());
  AtomicFile file(path);
  file.write(model.bytes());
  file.commit();
}

}  // namespace coss
