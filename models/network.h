// Network: a backbone with an optional classifier, as the command line chooses it by name.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

class Network {
 public:
  virtual ~Network() = default;
  // images (N,H,W,3) normalized -> pooled features (N, feature_width). In train mode batch statistics are used and
  // updated; in eval mode norms are folded into the convolutions and nothing is recorded on a tape. step, i64 (1) on
  // the device, counts the updates so far: networks with dropout or drop path need it in train mode. `stages`, when
  // wanted, receives the output of each stage.
  virtual Var features(const Var& images, Mode mode, const Tensor& step = {}, std::vector<Var>* stages = nullptr) = 0;
  // (N, feature_width) -> (N, classes)
  virtual Var logits(const Var& features, Mode mode, const Tensor& step = {}) = 0;
  // Multiply-accumulates of convolutions and linear layers for one square image.
  virtual int64_t macs(int64_t image_size) const = 0;

  int64_t feature_width = 0, classes = 0;  // classes 0: a backbone without classifier
};

struct ModelInfo {
  const char* name;         // "resnet50"
  const char* description;  // one line
  int64_t image_size;       // the size it was made for
  int64_t feature_width;
  int64_t classes;  // of the published network
  // classes 0 leaves the classifier out.
  std::function<std::unique_ptr<Network>(const Scope&, int64_t classes)> make;
};

// The visible registry: one line per model.
const std::vector<ModelInfo>& models();
// Throws Error that names the nearest known model.
const ModelInfo& find_model(const std::string& name);
// Libraries differ in details that no name or shape tells: padding, the epsilon of norms, the order of two layers, the
// number of heads. The model that computes as the `layout` (formats/layouts.h) of some weights wants, for weights that
// fit `model`; `model` itself where nothing differs.
std::string variant_for(const std::string& model, const std::string& layout);
// Trainable numbers and multiply-accumulates of the published network, at its own image size.
struct ModelCost {
  int64_t parameters = 0, macs = 0;
};
ModelCost cost_of(const ModelInfo& model);

}  // namespace coss
