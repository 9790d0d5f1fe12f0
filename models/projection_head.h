// Projection heads: what self-supervised methods put behind a backbone, with the names of their files. Linear layers
// with batch norm and activation between them, as each method has it, perhaps rows of unit length, perhaps DINO's
// weight-normalized prototypes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/linear.h"
#include "layers/mode.h"
#include "layers/norm.h"

namespace coss {

// One linear layer and what follows it.
struct ProjectionLayer {
  std::string linear;  // its name: "0", "mlp.2"
  int64_t in = 0, out = 0;
  bool bias = true;
  std::string norm = "";  // the name of its batch norm; none where it is empty
  bool affine = true;
  Activation activation = Activation::none;
};

struct ProjectionOptions {
  std::vector<ProjectionLayer> layers;
  bool unit_length = false;  // of the last layer's rows
  int64_t prototypes = 0;    // rows of "last_layer"; 0: none
};

// The methods whose heads are known: mocov2, mocov3, mocov3_vit, simclr, swav, dino, byol (as projector and as
// predictor).
std::vector<std::string> projection_methods();
// Widths of input, hidden layers and output. Throws Error on an unknown method.
ProjectionOptions projection_of(const std::string& method, int64_t in, int64_t hidden, int64_t out);

struct ProjectionTensor {
  std::string name;  // below the head: "0.weight"
  std::vector<int64_t> shape;
};
// The head whose tensors these are: layers by number, an activation wherever a number is left out. What no tensor tells
// is the reader's to set: SwAV's rows have unit length.
ProjectionOptions projection_from(const std::vector<ProjectionTensor>& tensors);

class ProjectionHead {
 public:
  ProjectionHead(const Scope& scope, const ProjectionOptions& options);
  ProjectionHead(const ProjectionHead&) = delete;
  ProjectionHead& operator=(const ProjectionHead&) = delete;

  Var operator()(const Var& x, Mode mode);  // (N,in) -> (N,out)

  int64_t width = 0;  // of the output

 private:
  Var prototypes(const Var& x) const;

  struct Layer {
    Linear linear;
    std::unique_ptr<Norm> norm;  // with the activation
    Activation activation;       // where there is no norm
  };
  bool unit_length_;
  std::vector<std::unique_ptr<Layer>> layers_;
  Var magnitudes_, directions_;
};

}  // namespace coss
