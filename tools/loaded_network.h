// A frozen network with weights from a file: what evaluation, embedding, mining and the teacher's side of training
// share.
#pragma once
#include <memory>
#include <string>

#include "models/network.h"

namespace coss {

struct LoadedNetwork {
  Params params;
  std::unique_ptr<Network> network;
  int64_t image_size = 224;
  Normalisation normalisation;  // of the images that its weights were trained on
  std::string report;           // what matched, what was missing, what was left over

  Network& operator*() const { return *network; }
  Network* operator->() const { return network.get(); }
};

enum class Classifier : uint8_t { required, optional };

// Builds model `name` with the number of classes that the file's classifier has (the model's own when there is none)
// and loads `weights`. A backbone tensor that does not match is an Error; so is a classifier when it is required, also
// one that the file marks as untrained. With weights empty the network keeps the initial values of `seed`.
std::unique_ptr<LoadedNetwork> load_network(const std::string& name, const std::string& weights, Classifier classifier,
                                            Device device, DType dtype, uint64_t seed = 0);

// True for the names of a network's classifier ("fc.weight", "classifier.1.bias").
bool is_classifier(const std::string& parameter_name);

}  // namespace coss
