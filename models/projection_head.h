// Projection heads: the layers that self-supervised methods put behind a backbone, with the parameter names of their
// files. A head has linear layers with batch norm and activation between them. Some bring their output's rows to unit
// length; DINO's ends with weight-normalized prototypes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/linear.h"
#include "layers/mode.h"
#include "layers/norm.h"

namespace coss {

// A linear layer, the batch norm behind it if there is one, and the activation.
struct ProjectionLayer {
  std::string linear;  // its name: "0", "mlp.2"
  int64_t in = 0, out = 0;
  bool bias = true;
  std::string norm = "";  // the name of its batch norm; empty if there is none
  bool affine = true;     // the batch norm has scale and shift
  Activation activation = Activation::none;
};

struct ProjectionOptions {
  std::vector<ProjectionLayer> layers;
  bool unit_length = false;  // the last layer's rows are brought to length 1
  int64_t prototypes = 0;    // rows of "last_layer"; 0: the head has no prototypes
};

// The methods whose heads are known: mocov2, mocov3, mocov3_vit, simclr, swav, dino, byol (its projector and predictor
// are alike).
std::vector<std::string> projection_methods();
// The head of a method, with `in` columns, hidden layers of width `hidden`, and `out` columns. Throws Error if the
// method is unknown.
ProjectionOptions projection_of(const std::string& method, int64_t in, int64_t hidden, int64_t out);

struct ProjectionTensor {
  std::string name;  // without the head's prefix: "0.weight"
  std::vector<int64_t> shape;
};
// The head that has these tensors. Layers are numbered; a number without tensors is an activation. Throws Error if the
// tensors make no head. The caller sets what tensors cannot tell: that SwAV's rows have unit length.
ProjectionOptions projection_from(const std::vector<ProjectionTensor>& tensors);

class ProjectionHead {
 public:
  // Registers its layers below the scope, by the names in the options. Throws Error if a norm is followed by an
  // activation other than ReLU.
  ProjectionHead(const Scope& scope, const ProjectionOptions& options);
  ProjectionHead(const ProjectionHead&) = delete;
  ProjectionHead& operator=(const ProjectionHead&) = delete;

  Var operator()(const Var& x, Mode mode);  // (N,in) -> (N,out)

  int64_t width = 0;  // of the output

 private:
  Var prototypes(const Var& x) const;

  struct Layer {
    Linear linear;
    std::unique_ptr<Norm> norm;  // null if there is none; it computes the activation as well
    Activation activation;       // for layers without norm
  };
  bool unit_length_;
  std::vector<std::unique_ptr<Layer>> layers_;
  Var magnitudes_, directions_;
};

}  // namespace coss
