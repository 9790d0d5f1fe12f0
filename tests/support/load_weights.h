// Weights from a file into any parameters, for tests that need no registered network.
#pragma once
#include <functional>
#include <string>

#include "formats/weights.h"

namespace coss::test {

// Opens `path`, finds what `scope` of `params` wants, and loads it.
inline WeightReport load_weights(const std::string& path, Params& params, const std::string& scope,
                                 const std::function<bool(const std::string&)>& optional) {
  const TensorFile file = open_tensor_file(path);
  return coss::load_weights(file, match_layout(file, wanted_tensors(params, scope, optional)), params, scope);
}

}  // namespace coss::test
