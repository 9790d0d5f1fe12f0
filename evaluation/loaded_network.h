// A frozen network with weights from a file: what evaluation, embedding, mining and the teacher's side of training
// share. And what a file says of the network that its weights belong to.
#pragma once
#include <memory>
#include <string>

#include "models/network.h"
#include "models/projection_head.h"

namespace coss {

// What follows from a file of weights for who asked for a model.
struct WeightFacts {
  std::string model;            // the asked one, or its variant that computes as the weights want
  int64_t classes = 0;          // of the file's classifier; 0: it has none
  Normalization normalization;  // of the images that the weights were trained on
  bool bicubic = false;         // how those were resized; else bilinear
  std::string note;             // in words, when another model than the asked one is to be built
};

// Reads names and shapes only. `from` is a layout (formats/layouts.h) or "auto".
WeightFacts facts_of_weights(const std::string& model, const std::string& weights, const std::string& from = "auto");

struct LoadedNetwork {
  Params params;
  std::unique_ptr<Network> network;
  std::string model;  // the one that was built
  int64_t image_size = 224;
  Normalization normalization;  // of the images that its weights were trained on
  bool bicubic = false;
  std::string report;  // what matched, what was missing, what was left over

  Network& operator*() const { return *network; }
  Network* operator->() const { return network.get(); }
  // From now on images come with this normalization; where it is another than that of the weights the network maps them
  // first, and the report says so.
  void take_images_of(const Normalization& given);
};

enum class Classifier : uint8_t { required, optional };

// Builds model `name`, or the variant of it that the weights want, with the number of classes that the file's
// classifier has (none when the file has none, unless it is required) and loads `weights`. A backbone tensor that does
// not match is an Error; so is a classifier when it is required, also one that the file marks as untrained. With
// weights empty the network keeps the initial values of `seed`.
std::unique_ptr<LoadedNetwork> load_network(const std::string& name, const std::string& weights, Classifier classifier,
                                            Device device, DType dtype, const std::string& from = "auto",
                                            uint64_t seed = 0);

// The projection head that stands in the file behind the backbone of model `name`, frozen; null where there is none.
struct LoadedHead {
  Params params;
  std::unique_ptr<ProjectionHead> head;
};
std::unique_ptr<LoadedHead> load_head(const std::string& name, const std::string& weights, Device device, DType dtype,
                                      const std::string& from = "auto");

// True for the names of a network's classifier ("fc.weight", "classifier.1.bias").
bool is_classifier(const std::string& parameter_name);

}  // namespace coss
