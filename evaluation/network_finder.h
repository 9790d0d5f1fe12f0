// Which of coss's networks a file holds, and where in it.
#pragma once
#include <string>
#include <vector>

#include "formats/layouts.h"
#include "models/network.h"

namespace coss {

struct FoundNetwork {
  const ModelInfo* model = nullptr;  // the variant that computes as the weights want
  std::vector<WantedTensor> wanted;  // the classifier optional, of any number of classes
  LayoutMatch match;                 // complete
};

// The largest network of which nothing but the classifier is missing, or `model` unless that is empty; `from` is "auto"
// or a layout. Error that names the closest networks, or what is missing of the one that is asked for.
FoundNetwork find_network(const TensorFile& file, const std::string& model = "", const std::string& from = "auto");

}  // namespace coss
