// A network beside the goldens that PyTorch made of it.
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

// sum(x * weights) as an operation.
Var weighted_sum(const Var& x, const Tensor& weights);

using NetworkMaker = std::function<std::unique_ptr<Network>(const Scope&)>;
// The model of that name with its own number of classes.
NetworkMaker maker_of(const std::string& model);

// A network with the weights that the goldens below `name` were made with.
struct GoldenNetwork {
  GoldenNetwork(const GoldenFile& goldens, const std::string& name, const NetworkMaker& make, Device device,
                DType dtype, Mode mode);

  // Features, logits and stages in eval mode, of which no gradient is kept.
  void expect_eval(double bound);
  // Features and logits in train mode; then backward from a weighted sum, which is compared with `loss_bound`.
  void train(double bound, double loss_bound);
  // train(), norms and slices of its gradients, and the running statistics.
  void expect_train(double bound, double gradient_bound, double loss_bound);

  bool has(const std::string& key) const { return !goldens.keys(prefix + key).empty(); }
  // The error against the golden of that key, of whose length `got` is at least.
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
