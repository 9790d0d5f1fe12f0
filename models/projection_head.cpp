// The table of methods; finds a head by its tensors; registers its parameters; forward.
#include "models/projection_head.h"

#include <charconv>
#include <map>

#include "engine/text.h"

namespace coss {
namespace {

struct Method {
  const char *name, *prefix;
  int linears;
  bool bias, norm, last_norm;  // last_norm: the last layer has a norm as well, without scale and shift
  Activation activation;
  bool unit_length;
};

constexpr Method kMethods[] = {
    {"mocov2", "", 2, true, false, false, Activation::relu, false},
    {"mocov3", "", 2, false, true, true, Activation::relu, false},
    {"mocov3_vit", "", 3, false, true, true, Activation::relu, false},
    {"simclr", "", 2, true, true, false, Activation::relu, false},
    {"swav", "", 2, true, true, false, Activation::relu, true},
    {"dino", "mlp.", 3, true, false, false, Activation::gelu, true},
    {"byol", "net.", 2, true, true, false, Activation::relu, false},
};

// "mlp.2.weight" -> "mlp.", 2, "weight"
struct NumberedName {
  std::string prefix, leaf;
  int number = 0;
};

NumberedName numbered(const std::string& name) {
  const size_t dot = name.rfind('.');
  COSS_CHECK(dot != std::string::npos && dot > 0, "[projection head] " + name + " belongs to no numbered layer");
  const size_t before = name.rfind('.', dot - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  NumberedName parts{name.substr(0, begin), name.substr(dot + 1), 0};
  const char *from = name.data() + begin, *to = name.data() + dot;
  const auto [end, problem] = std::from_chars(from, to, parts.number);
  COSS_CHECK(problem == std::errc() && end == to && parts.number >= 0 && parts.number < 100,
             "[projection head] " + name + " belongs to no numbered layer");
  return parts;
}

}  // namespace

std::vector<std::string> projection_methods() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.push_back(method.name);
  return names;
}

ProjectionOptions projection_of(const std::string& method, int64_t in, int64_t hidden, int64_t out) {
  for (const Method& m : kMethods) {
    if (method != m.name) continue;
    ProjectionOptions options;
    int number = 0;
    auto next = [&] { return m.prefix + std::to_string(number++); };
    for (int i = 0; i < m.linears; ++i) {
      const bool last = i + 1 == m.linears;
      ProjectionLayer layer{.linear = next(), .in = i == 0 ? in : hidden, .out = last ? out : hidden, .bias = m.bias};
      if (last ? m.last_norm : m.norm) layer.norm = next();
      layer.affine = !last;
      if (!last) layer.activation = m.activation, ++number;
      options.layers.push_back(layer);
    }
    options.unit_length = m.unit_length;
    return options;
  }
  throw Error(unknown_name("projection head", method, projection_methods()));
}

ProjectionOptions projection_from(const std::vector<ProjectionTensor>& tensors) {
  ProjectionOptions options;
  std::map<int, std::map<std::string, std::vector<int64_t>>> parts;
  std::string prefix;
  for (const ProjectionTensor& tensor : tensors) {
    if (tensor.name == "last_layer.weight_v" && tensor.shape.size() == 2) options.prototypes = tensor.shape[0];
    if (tensor.name.starts_with("last_layer.") || tensor.name.ends_with("num_batches_tracked")) continue;
    const NumberedName name = numbered(tensor.name);
    COSS_CHECK(parts.empty() || name.prefix == prefix,
               "[projection head] " + tensor.name + " does not begin with " + prefix + " as the others do");
    prefix = name.prefix;
    parts[name.number][name.leaf] = tensor.shape;
  }
  options.unit_length = options.prototypes > 0;
  const Activation between = prefix == "mlp." ? Activation::gelu : Activation::relu;
  int expected = 0;
  for (const auto& [number, leaves] : parts) {
    const std::string name = prefix + std::to_string(number);
    const auto weight = leaves.find("weight");
    const bool is_linear = weight != leaves.end() && weight->second.size() == 2;
    if (!options.layers.empty() && number > expected) options.layers.back().activation = between;
    if (is_linear) {
      const int64_t out = weight->second[0], in = weight->second[1];
      COSS_CHECK(out > 0 && in > 0 && (options.layers.empty() || options.layers.back().out == in),
                 "[projection head] layer " + name + " takes " + std::to_string(in) +
                     " columns, which the layer before it does not give");
      options.layers.push_back({.linear = name, .in = in, .out = out, .bias = leaves.count("bias") > 0});
    } else {
      COSS_CHECK(leaves.count("running_mean") && !options.layers.empty() && options.layers.back().norm.empty(),
                 "[projection head] layer " + name + " is neither a linear layer nor the batch norm of one");
      options.layers.back().norm = name;
      options.layers.back().affine = weight != leaves.end();
    }
    expected = number + 1;
  }
  COSS_CHECK(!options.layers.empty(), "[projection head] there is no linear layer among its tensors");
  return options;
}

ProjectionHead::ProjectionHead(const Scope& scope, const ProjectionOptions& options)
    : unit_length_(options.unit_length) {
  for (const ProjectionLayer& layer : options.layers) {
    LinearOptions linear(layer.in, layer.out);
    linear.with_bias = layer.bias;
    const NormParams norm{.activation = layer.activation};
    const bool normed = !layer.norm.empty();
    COSS_CHECK(!normed || clips(layer.activation), "[projection head] a batch norm is followed by none or by ReLU");
    layers_.emplace_back(new Layer{
        Linear(scope, layer.linear, linear),
        normed ? std::make_unique<Norm>(scope, layer.norm, layer.out, norm, layer.affine) : nullptr, layer.activation});
    width = layer.out;
  }
  if (options.prototypes == 0) return;
  scope.params().add_weight(scope.name("last_layer.weight_g"), {options.prototypes, 1}, FileLayout::plain, Init::ones(),
                            &magnitudes_);
  scope.params().add_weight(scope.name("last_layer.weight_v"), {options.prototypes, width}, FileLayout::plain,
                            Init::kaiming_uniform(width), &directions_);
  width = options.prototypes;
}

Var ProjectionHead::operator()(const Var& x, Mode mode) {
  if (mode == Mode::eval && Tape::active()) {
    const NoGrad frozen;
    return (*this)(x, mode);
  }
  Var y = x;
  for (const auto& layer : layers_) {
    y = layer->linear(y, layer->norm ? Activation::none : layer->activation);
    if (!layer->norm) continue;
    const Shape rows = y.shape();
    y = reshape((*layer->norm)(reshape(y, {rows[0], 1, 1, rows[1]}), mode), rows);
  }
  if (unit_length_) y = normalize_rows(kSmallestNorm, y);
  return directions_.empty() ? y : prototypes(y);
}

// Computes x v^T / |v| and multiplies each column by its magnitude. scale_channels sees the rows of x as the pixels of
// one image.
Var ProjectionHead::prototypes(const Var& x) const {
  const Var y = linear(x, normalize_rows(kSmallestNorm, directions_), {});
  const int64_t rows = y.shape()[0], columns = y.shape()[1];
  const Var scaled = scale_channels(reshape(y, {1, 1, rows, columns}), reshape(magnitudes_, {1, columns}));
  return reshape(scaled, y.shape());
}

}  // namespace coss
