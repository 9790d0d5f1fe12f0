// A frozen network with the weights of a file, and the projection head behind it: what evaluation, embedding, mining
// and the teacher's side of training share.
#pragma once
#include <memory>
#include <string>

#include "evaluation/checkpoint.h"
#include "models/projection_head.h"

namespace coss {

struct LoadedNetwork {
  Params params;
  std::unique_ptr<Network> network;
  std::string model;  // the one that was built
  int64_t image_size = 224;
  Normalization normalization;  // of the images that its weights were trained on
  bool bicubic = false;         // how those images were resized; else bilinear
  std::string report;           // what matched, what was missing, what was left over

  Network& operator*() const { return *network; }
  Network* operator->() const { return network.get(); }
  // Says that images will come with this normalization. Where the weights want another, the network maps the images
  // first, and the report says so.
  void take_images_of(const Normalization& given);
};

// Builds the checkpoint's network with the number of classes that its classifier has and loads it. If the file has no
// classifier, the network has none either. A required classifier that is missing, or that the file marks as untrained,
// is an Error.
std::unique_ptr<LoadedNetwork> load_network(const Checkpoint& checkpoint, Classifier classifier, Device device,
                                            DType dtype);

// The published network with the initial values of `seed` in place of weights, frozen: for timing, and to compare with.
std::unique_ptr<LoadedNetwork> random_network(const std::string& model, Device device, DType dtype, uint64_t seed = 0);

struct LoadedHead {
  Params params;
  std::unique_ptr<ProjectionHead> head;
};

// The checkpoint's projection head, frozen; null if it has none.
std::unique_ptr<LoadedHead> load_head(const Checkpoint& checkpoint, Device device, DType dtype);

}  // namespace coss
