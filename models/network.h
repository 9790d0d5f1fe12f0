// Network: a backbone with an optional classifier, and the table of all networks, from which the command line chooses
// one by its name.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

class Network {
 public:
  virtual ~Network() = default;
  // images (N,H,W,3) normalized, in the compute dtype -> pooled features (N, feature_width). Train mode uses and
  // updates batch statistics. Eval mode folds norms into the convolutions and records nothing on a tape. `step`, i64
  // (1) on the device, counts the updates so far; networks with dropout or drop path need it in train mode. `stages`,
  // if it is not null, receives the output of each stage.
  virtual Var features(const Var& images, Mode mode, const Tensor& step = {}, std::vector<Var>* stages = nullptr) = 0;
  // (N, feature_width) -> (N, classes). Throws Error if the network was made without a classifier.
  virtual Var logits(const Var& features, Mode mode, const Tensor& step = {}) = 0;

  int64_t feature_width = 0, classes = 0;  // classes 0: a backbone without classifier
};

// Details of how a network computes, in which libraries differ though its parameters have the same shapes.
struct Numerics {
  float eps = 1e-5f, momentum = 0.1f;  // of batch norms
  bool same_padding = false;           // TensorFlow's padding (ConvParams::same)
  bool gate_first = false;             // squeeze-and-excitation comes before the depthwise convolution's activation
};

// Makes a row the variant of `model` for weights in `layout` (formats/layouts.h): weights that fit `model` but come in
// that layout belong to the row's network.
struct VariantOf {
  const char *model = "", *layout = "";
};

// All facts of a model.
struct ModelInfo {
  const char* name;         // "resnet50"
  const char* description;  // one line
  int64_t image_size;       // the size it was made for, in pixels
  int64_t feature_width;
  int64_t classes;  // of the published network
  // Builds the network and registers its parameters in the scope. classes 0 leaves the classifier out.
  std::function<std::unique_ptr<Network>(const Scope&, int64_t classes)> make;
  // What `make` builds with. Only families that libraries compute differently have it; `coss convert` writes it.
  std::optional<Numerics> numerics;
  VariantOf variant_of;  // empty for most
};

// The visible registry: one row per model.
const std::vector<ModelInfo>& models();
// Throws Error that names the nearest known model.
const ModelInfo& find_model(const std::string& name);
// The model that computes what weights in `layout` want, if they fit `model`: a variant of it, else `model` itself.
// Libraries differ in details that neither names nor shapes tell: padding, the epsilon of norms, the order of two
// layers, the number of heads.
std::string variant_for(const std::string& model, const std::string& layout);

}  // namespace coss
