// Compares a network with the goldens that were made of it with PyTorch.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/autograd.h"
#include "models/network.h"
#include "tests/support/golden_file.h"
#include "tests/support/support.h"

namespace coss::test {

// The operation sum(x * weights).
Var weighted_sum(const Var& x, const Tensor& weights);

using NetworkMaker = std::function<std::unique_ptr<Network>(const Scope&)>;
// Makes the model of that name with the number of classes in its row.
NetworkMaker maker_of(const std::string& model);

// A network with the weights that the goldens below `name` were made with.
struct GoldenNetwork {
  GoldenNetwork(const GoldenFile& goldens, const std::string& name, const NetworkMaker& make, Device device,
                DType dtype, Mode mode);

  // Compares features, logits and stages in eval mode; nothing may be recorded on the tape.
  void expect_eval(double bound);
  // Compares features and logits in train mode, and their weighted sum within `loss_bound`; then runs backward from it.
  void train(double bound, double loss_bound);
  // Calls train() and compares norms and slices of the gradients, and the running statistics.
  void expect_train(double bound, double gradient_bound, double loss_bound);

  bool has(const std::string& key) const { return !goldens.keys(prefix + key).empty(); }
  // The normalized error against the golden of that key. `got` may be longer; the rest is left out.
  double error(std::vector<double> got, const std::string& key) const;

  const GoldenFile& goldens;
  const std::string prefix;
  Params params;
  std::unique_ptr<Network> network;
  Device device;
  DType dtype;
  int64_t size = 0;  // pixels on a side
};

}  // namespace coss::test
